"""The machines of a site; empty until there is more than one."""
