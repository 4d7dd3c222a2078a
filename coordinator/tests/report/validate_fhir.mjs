// Validates FHIR R4 resources: node validate_fhir.mjs FILE..., with NODE_FOLDER naming where `fhir` is installed.
// Says which messages each file gets; its status is 1 where a file is not valid.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const require = createRequire(join(resolve(process.env.NODE_FOLDER), "index.js"));
const { Fhir } = require("fhir");

const fhir = new Fhir();
for (const file of process.argv.slice(2)) {
  const { valid, messages } = fhir.validate(JSON.parse(readFileSync(file, "utf8")), { errorOnUnexpected: true });
  for (const { severity, location, message } of messages) console.log(`${severity}: ${location}: ${message}`);
  if (!valid) process.exitCode = 1;
}
