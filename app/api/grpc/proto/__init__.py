"""The gRPC protocol's messages. `inference_pb2` is made from inference.proto by `make proto`."""
