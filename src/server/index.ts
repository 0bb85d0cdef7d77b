export { ConfigError, type ServerConfig, serverConfigFromEnv } from "./config/config.ts";
export { OpsPortError } from "./opsServer.ts";
export { type RunningServer, startServer } from "./server.ts";
