"""What clients speak: one data plane behind HTTP and gRPC; nothing that moves messages."""
