// Package scenario runs semantics that are written as data: a case is an operator and what comes out of it, step by step, in a
// JSON file. Adding one takes no Go.
//
// # Adding a case
//
// Open a file in testdata/semantics of package processor (aggregates, windows, tables) or join, or begin a new one:
//
//	{"family": "my corner cases", "cases": [
//	  {"name": "late-by-a-millisecond", "source": "the rule that says so",
//	   "operator": {"kind": "stream-stream-join", "join": "inner", "left": "L", "right": "R",
//	                "before_ms": 10, "after_ms": 10, "grace_ms": 5, "joiner": "{left},{right}"},
//	   "final_drops": 1,
//	   "steps": [
//	     {"input": {"topic": "L", "key": "k", "value": "a", "ts": 100}, "expect": []},
//	     {"input": {"topic": "R", "key": "k", "value": "b", "ts": 84}, "expect": []},
//	     {"restart": true},
//	     {"input": {"topic": "R", "key": "k", "value": "c", "ts": 105},
//	      "expect": [{"key": "k", "value": "a,c", "ts": 105, "window": [90, 110]}]}
//	   ]}
//	]}
//
// and run it, alone if you like:
//
//	go test ./join -run 'Semantics/.*/late-by-a-millisecond'
//
// Files of your own, in a folder and those below it, are run in addition: cases with a join in them by package join, all others by
// package processor. A relative folder counts from the root of the module. -v shows what was run, and what could not be:
//
//	ROSSBY_SEMANTICS=folder go test ./... -run Semantics -v
//
// # Steps
//
// A step is an input, {"restart": true}, {"flush": true} (which changes nothing: no update is ever held back), or
// "set_wall_clock_ms" / "advance_wall_clock_ms". Inputs are processed one at a time, in the order of the steps, whatever their
// times. Keys and values are texts, integers (their decimal form) or null; "ts" is in milliseconds.
//
// After it, "expect" lists all outputs since the last such assertion, in order; "order" may be "any" (free between keys and
// windows), "any-all" (free) or "latest-per-key"; with "prefix" more may follow. "expect_set", "expect_latest" (the last of
// each key and window) and "expect_last" ask for less. "expect_drops" counts late and failed records so far, "expect_error"
// wants the step to fail (a failed record is one that does), and "expect_table" compares the table's rows. Of an output only the
// fields that are given count. See Operators and Joiner for what an operator may say. At the end no output may be left over once any has been asserted, and "final_drops" counts
// again.
//
// # What is run
//
// Every case three times: straight through processortest.Driver; with a crash and restore after every step; and through an App
// on a server in process, where a restart ends the App and starts another. Cases with stores are run in the last two ways once
// more, with these on disk; a third of them only on the server where tests take long (the race detector, -short).
//
// A case with a field or an operator that the runner does not know is reported as not applicable, by name and with the reason;
// it never counts as passed, and in a package's own folder it fails. A case that has another result here on purpose stands in
// departures.json beside the files, with the number of the departure and our result:
//
//	{"case name": {"departure": "D3", "why": "its window is open", "steps": {"4": {"expect": []}}, "final_drops": 1}}
//
// Steps count from 1; what is given there replaces all that the case asserts after that step. No other way exempts a case.
package scenario
