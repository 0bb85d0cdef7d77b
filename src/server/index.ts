export { ConfigError, type ServerConfig, serverConfigFromEnv } from "./config/config.ts";
export { OpsPortError, type RunningServer, startServer } from "./server.ts";
