export { ConfigError, type ServerConfig, serverConfigFromEnv } from "./config.ts";
export { type RunningServer, startServer } from "./server.ts";
