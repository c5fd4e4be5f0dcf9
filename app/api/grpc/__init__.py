"""The gRPC server and its messages; what a call means is decided in the data plane."""
