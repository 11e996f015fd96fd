// Package cases holds tests of alarm rules as data: what comes in, and which alarms there are at given times. A file is JSON or YAML.
//
//	cases:
//	  - name: a busy processor
//	    start: 2026-01-01T00:00:00Z
//	    interval: 1m
//	    input:
//	      - {metric: cpu_percent, key: web1, values: 60 85x4 _ 60}
//	    logs:
//	      - {at: 90s, key: web1, severity: err, app: kernel, message: disk failure, times: 3, every: 1s}
//	    expect:
//	      - at: 3m
//	        alarms: [{rule: HighCPU, key: web1, state: firing, severity: critical, value: 85, since: 1m, context: {total: 3}}]
//	      - at: 6m
//	        alarms: []
//
// Values are in the notation of promtool, one each interval from the start; see ParseValues. The alarms of an expectation are all there
// are at that time; of each only what is written counts, of its context too. A pending alarm that clears vanishes without a word, so
// one that is not expected is no mistake.
//
// The package feeds nothing to anybody: a program takes Inputs, plays them to its topology, and gives what has come out to Verify.
// alertingtest.Run does it in a test.
package cases
