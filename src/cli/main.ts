#!/usr/bin/env node
/**
 * The command line: each command in a file of its own, put together here.
 */
import { Command } from "commander";
import { VERSION } from "../server/index.ts";
import { serveCommand } from "./serve.ts";

const program = new Command("countersign")
  .description("Signed trading-signal ingest: proven, checked, stored exactly once.")
  .version(VERSION)
  .addCommand(serveCommand());

await program.parseAsync();
