// Package notify brings alarms to people: routes, groups, silences, inhibition, time intervals and repetition, with the meaning that
// Prometheus' Alertmanager gives them.
//
//	critical, err := notify.Parse(`severity="critical"`)
//	...
//	told := notify.Notify(alarms, silences, notify.Config{
//		Route: notify.Route{Receiver: "ops", GroupBy: []string{"alertname"}, Routes: []notify.Route{
//			{Receiver: "pager", Matchers: critical},
//		}},
//		Receivers: []notify.Receiver{{Name: "ops", SendResolved: true}, {Name: "pager", SendResolved: true}},
//	})
//	notify.Deliver(b, told, notify.Target{Receiver: "pager", Send: webhook.Send})
//
// # Vocabulary
//
//   - alert: an alarm as receivers see it: labels, annotations, when it began and ended.
//   - route: a node of a tree; an alert belongs to the deepest routes that match its labels.
//   - group: the alerts of one route with the same values of the labels in group_by; it is told of as one.
//   - flush: the moment when a group is looked at: group_wait after its first alert, then every group_interval.
//   - time interval: a set of moments by the calendar; a route is silent during some, or outside of them.
//   - notification: what a receiver is told of a group at a flush.
//   - silence: mutes the alerts that it matches, for a time. They stay in their groups.
//   - acknowledgement: says that somebody takes care of alerts that there are: they are not repeated until it expires. What is news is told.
//
// # Guarantees
//
//   - Alerts, groups, what was told to whom, and when the next flush is are the state of a task: a crash, a restart or a move loses no
//     alert, and no notification is made twice because of it. (Alertmanager keeps its groups in memory.)
//   - What is made is handed to each receiver at least once, in order, with an idempotency key that is the same when it comes again.
//   - A receiver that does not answer holds up nobody else.
//   - A notification has the W3C trace context of the alarm, or alert, that was heard of last in its group.
//   - A silence that has expired, or ended because no alert that fires has matched it for a time of its own, is told of once if
//     Config.TellSilenceEnds asks for it, also after a crash.
//   - What mutes an alert is asked of a running app (Inquiry, package api) and computed by the code that decides whether it is told.
//   - An inhibiting alert and the one it inhibits are judged at one moment, whatever the order in which they came.
//
// # Caveats
//
//   - All alerts are in one task, since any may inhibit any other.
//   - Flushes go by the clock of the instance, not by event time: they are about people. A replay tells what is so at its end.
//   - A bucket of silences keeps one that has ended unused, and its status, as they are.
//   - What is resolved while a time interval or a silence mutes it is told of to nobody, as Alertmanager has it.
package notify
