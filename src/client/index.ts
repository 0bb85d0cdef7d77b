/**
 * The client for producers, published as `countersign/client`: all of `countersign-client`, and
 * the interceptor for a client of `@grpc/grpc-js`, which is installed with `countersign`.
 */
export * from "./core.ts";
export { createGrpcSigningInterceptor } from "./grpcSigningInterceptor.ts";
