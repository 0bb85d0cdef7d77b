/** What `bin/countersign.js` runs, on a Node.js that is new enough. */
import { surviveLostOutput } from "./output.ts";
import { runProgram } from "./program.ts";

surviveLostOutput();
await runProgram();
