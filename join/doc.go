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
//	Inner                 L,r2 L,r3
//	OnUpdate              L,[r2]
//	                           L,[r2 r3]
//	OnClose                                     L,[r2 r3]
//	Left, Outer OnClose, when r2 and r3 are missing: L,nil
//
//	verb              a result comes                               time of the result
//	Inner             for each pair, once, as soon as the second   the later of the two
//	                  of the two is processed
//	Left, Outer       as Inner; and for each record without a        that record's
//	                  partner when its window has closed
//	                  (OnUpdate: at once); Outer for both sides
//	Absence           for each left record without a partner, when   the left's
//	                  its window has closed
//	AsOf              for each left record once, with the latest     the left's
//	                  right one not later than it
//	Collect OnUpdate  for each left record at once, and again for  the left's
//	                  each right one that comes into its window
//	Collect OnClose   for each left record once, when its window   the left's
//	                  has closed
//
// # Guarantees
//
//   - A record is late if its whole window has closed: t + After + Grace < stream time for a left one, r + Before + Grace < stream
//     time for a right one, stream time including the record itself. It goes to Late, is never joined and never kept
//     (departure D2 from Kafka Streams, whose joins take late rows). A bound below zero counts as zero here, so that a record that
//     comes in order is never late.
//   - A closed window gets nothing more from Collect: what it has said last stays true. Inner goes by the record in hand alone:
//     one that is not late itself is joined with every partner, also with those whose own window has closed.
//   - A restart changes no result: stream time, rows and timers are part of the commit (D1).
//   - Collect gives a left record without any right ones, too, with an empty slice; OnClose says so when the window has closed and
//     not before (D3), whenever stream time advances (D4), in the order of time; Left, Outer and Absence likewise.
//   - The window travels in the record, the key stays the key (D8). Headers are the left record's (D9).
//   - A joiner that panics makes the record in hand a failed record (see processor.FailurePolicy); what else that record gives
//     is emitted, and it stays in its window.
//
// # Caveats
//
//   - A right record that is not late itself may meet a left record that was told as unmatched before (Before > 0, records out of
//     order by more than Grace): both are told, as in Kafka Streams. A longer Grace avoids it.
//   - Windows close by event time. On a topic that falls silent they stay open, unless the topology has CloseOnIdle.
//   - Rows are kept in memory for Before + After + Grace of event time: a join holds rate times that span, of both sides.
//   - Rows are kept as JSON in the journal. What a type hides from JSON, such as unexported fields, is gone after a restart,
//     and a value that JSON cannot carry, such as NaN, is a failure at the commit (see processor.KeyValue) and never a row:
//     filter it out before the join.
//   - With Collect OnUpdate n left and m right records of one key and window give up to n + n*m results, each with its own slice of
//     rows: CollectUpTo bounds them.
package join
