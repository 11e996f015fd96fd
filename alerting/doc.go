// Package alerting turns streams of values into alarms.
//
//	alerting.Threshold(incidents, alerting.Rule[Incident]{
//		Name: "HostFailing", Value: Incident.CPU,
//		When: alerting.Above(0.9).ClearAt(0.8), For: 2 * time.Minute,
//	}).To(Alarms)
//
// # Vocabulary
//
//   - breach: a value beyond the threshold. sample: a value at an event time.
//   - alarm: one rule and one key; there is never more than one at a time. Its since is the time of the first breach.
//   - context: what the joined value brings of the first breach, the log lines around it for instance.
//
// # The life of an alarm
//
//	          breach, For > 0               breaching for For
//	inactive ------------------> pending ---------------------> firing
//	   ^  |                         |                             |
//	   |  +-------------------------|-----------------------------+  breach, For = 0
//	   |                            |                             |
//	   +----------- cleared --------+          cleared: "resolved"|
//	   +----------------------------------------------------------+
//
// A change to pending, firing or resolved emits an Alarm. A pending alarm that clears vanishes without a word, as in Prometheus:
// it has alarmed nobody. With KeepFiringFor a firing alarm that clears goes on firing for that long, and is the same one if the breach
// comes back. Between the clear value and the threshold everything stays as it is (hysteresis).
//
// # Guarantees
//
//   - Timing is event time: pending lasts until a sample that is at least For after the first breach, fires with that very sample,
//     and only samples that came are judged. A replay gives the alarms that life gave.
//   - A firing alarm is emitted at once, with the context known by then. Further results for the first breach, as join.Collect
//     gives them with OnUpdate, complete the context and change no state.
//   - A resolved alarm carries the complete context: it is held back until the window of the first breach has closed. Its At is
//     the time of the sample that cleared it.
//   - State is the task's: alarms survive crashes and restarts, none is lost and none is emitted twice.
//
// # Rules that change
//
// ThresholdLive takes rules as records, so that they are added, changed and removed while the app runs; package rulebucket makes them of what
// is edited in a key-value bucket. A change touches its own rule only, and a task keeps the rules in force among its state.
//
// # From alarm to person
//
// Package notify groups alarms, routes, silences and inhibits them, and hands them over to receivers.
//
// # Caveats
//
//   - Samples that are not after the last one judged change nothing while an alarm is in hand: two samples of one key with the
//     same time are one. Filter a stream to one metric before a rule.
//   - A value that is not a number is a failed record, as is a record without a key.
package alerting
