// Runs the public HTTP cache tests (http-cache-tests) through a cache: node cache-tests.mjs BASE
//
// BASE is the cache's URL; behind it is the suite's own server, which server/server.mjs starts.
// Prints JSON: for each test its kind ("required", "optimal", "check"), its name, and what came of
// it: true, or what was wrong.

import fetch from "node-fetch";
import { getResults, runTests } from "http-cache-tests/client/runner.mjs";
import suites from "http-cache-tests/tests/index.mjs";

// Some of its requests outlive the test that made them.
process.on("unhandledRejection", () => {});

await runTests(suites, fetch, false, process.argv[2], 60);
const results = getResults();
const told = {};
for (const suite of suites)
  for (const test of suite.tests)
    if (test.id in results)
      told[test.id] = {
        kind: test.kind ?? "required",
        name: `${suite.name}: ${test.name}`,
        result: results[test.id],
        depends_on: test.depends_on ?? [],
      };
process.stdout.write(JSON.stringify(told), () => process.exit(0));
