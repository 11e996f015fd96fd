// Package join brings two streams together by key and time.
//
//	incidents := join.Collect(cpu, errors, // func(Metric, []Syslog) Incident
//		join.Window{Name: "incidents", Within: 5 * time.Minute, Grace: 30 * time.Second}, correlate)
//	lateMetrics, lateLogs := incidents.Late()
//
// A left record at time t and a right record at time r belong together if they have one key and t - Before <= r <= t + After, both
// ends included. A window has closed when stream time has passed t + After + Grace.
//
//	                      t
//	left   ---------------L-----------------------------> event time
//	right  ------r1----r2------r3---------r4------------>
//	             |<-Before->|<-After->|<-Grace->| closed
//
//	        joins r2 and r3; r1 and r4 are outside
//
//	verb              emits                                           time of the result
//	Inner             each pair once, when the second of the two is   the later of the two
//	                  processed: (L,r2) at L, (L,r3) at r3
//	Collect OnClose   L once, when its window has closed: (L,[r2 r3]) the left's
//	Collect OnUpdate  L at once, and again for each right record that the left's
//	                  comes into its window: (L,[r2]), (L,[r2 r3])
//
// # Guarantees
//
//   - A record is late if its whole window has closed: t + After + Grace < stream time for a left one, r + Before + Grace < stream
//     time for a right one, stream time including the record itself. It goes to Late, is never joined and never kept
//     (departure D2 from Kafka Streams, whose joins take late rows). Bounds below zero count as zero here, so that a record that
//     comes in order is never late.
//   - A closed window gets nothing more: what Collect has said of it when it closed stays true. A right record that is not late
//     itself is still joined by Inner with left records whose windows have closed.
//   - A restart changes no result: stream time is part of the commit (D1), as are the rows and the timers.
//   - Collect emits a left record without any right ones, too, with an empty slice: nothing is said to be missing before the
//     window has closed (D3), it is said whenever stream time advances and not only sometimes (D4), in the order of time.
//   - The window travels in the record, the key stays the key (D8). Headers are the left record's (D9).
//
// # Caveats
//
//   - Windows close by event time. On a topic that falls silent they stay open, unless the topology has CloseOnIdle.
//   - Rows are kept in memory for Before + After + Grace of event time: rate times that span is what a join needs.
//   - With OnUpdate a right record makes every left record around it speak again: a window with n left and m right records of one
//     key gives n + n*m results. The right rows are handed over as views, not as copies.
//   - A record without a key is a failed record (see processor.FailurePolicy).
package join
