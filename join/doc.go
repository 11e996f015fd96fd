// Package join brings streams together by key and time, streams with tables, and tables with tables.
//
//	incidents := join.Collect(cpu, errors, // func(Metric, []Syslog) Incident
//		join.Window{Name: "incidents", Within: 5 * time.Minute, Grace: 30 * time.Second}, correlate)
//	lateMetrics, lateLogs := incidents.Late()
//
// # Streams with streams
//
// A left record at time t and a right record at time r belong together if they have one key and t - Before <= r <= t + After, both
// ends included. A window has closed when stream time has passed t + After + Grace. With Before 10, After 5 and Grace 5, what comes
// out when r1, r2, L, r3 and r4 come in that order (AsOf: with After 0):
//
//	event time         8      12       20    24  25        30   35
//	left                                L
//	right              r1     r2             r3                 r4
//	window of L           |<- Before ->|<- After ->|<- Grace ->| closed
//
//	Inner                               L,r2  L,r3
//	Left               (both)           L,r2  L,r3
//	Outer OnClose                       L,r2  -,r1 L,r3
//	Outer OnUpdate     -,r1   -,r2      L,r2  L,r3               -,r4
//	AsOf                                                         L,r2
//	Collect OnClose                                              L[r2 r3]
//	Collect OnUpdate                    L[r2] L[r2 r3]
//
//	when r2 and r3 do not come:
//	Left OnClose                                                 L,-
//	Left OnUpdate                       L,-
//	Absence                                                      L
//
//	verb              a result comes                               time of the result
//	Inner             for each pair, once, as soon as the second   the later of the two
//	                  of the two is processed
//	Left, Outer       as Inner; and for each record without a      that record's
//	                  partner when its window has closed
//	                  (OnUpdate: at once); Outer for both sides
//	Absence           for each left record without a partner,      the left's
//	                  when its window has closed
//	AsOf              for each left record once, with the latest   the left's
//	                  right one not later than it, when t + Grace
//	                  has passed
//	Collect OnClose   for each left record once, when its window   the left's
//	                  has closed
//	Collect OnUpdate  for each left record at once, and again for  the left's
//	                  each right one that comes into its window
//
// A stream may be joined with itself. Each pair then comes both ways, and each record meets itself: Before: -1 leaves out the
// record itself and whatever is not later. More streams are joined by joining a result with the next one; behind a join that waits,
// After + Grace must be more than those of the join before it, or all that it says is late.
//
// # Streams with tables, tables with tables
//
// A table has one row per key: there is no window, and nothing is late. With l and m records of a stream, or rows of a left table, and
// r and s rows of the right one, "-" where a row is deleted, and m put into the topic after s but with an earlier time:
//
//	event time                     10   20    30   25    40   50
//	left, as a stream                   l          m          n
//	right, as a table              r          s          -
//
//	Table, Global                       l,r        m,s                  the row as it is when the record is processed
//	TableLeft, GlobalLeft               l,r        m,s        n,-
//	Table with a History                l,r        m,r                  the row as it was at the record's time
//
//	event time                     10   20    30   40    50
//	left, as a table               l          m          -
//	right, as a table                   r          -
//
//	Tables                              l,r   m,r  -
//	TablesLeft, ForeignKeyLeft     l,-  l,r   m,r  m,-   -
//	TablesOuter                    l,-  l,r   m,r  m,-   -           a row of the right side alone gives -,r
//	ForeignKey                          l,r   m,r  -                 the right side's key is what the left row refers to
//
//	verb              a result comes                               time of the result
//	Table, Global     for each record of the stream; updates of    the record's
//	                  the table trigger nothing
//	Tables, Left,     for each update of either side, with the     the later of the two rows, or
//	Outer             other side's row; "-" when the result goes   the row's that is left
//	ForeignKey, Left  for each update of the left side, and of     the later of the two rows
//	                  the right row that it refers to
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
//     not before (D3), whenever stream time advances, before the record that advanced it is joined (D4); Left, Outer and Absence
//     likewise. They come in the order in which windows close, however far time moves at once. That is the order of their times, but
//     where Outer has unlike bounds: then the two sides close after unlike spans.
//   - The window travels in the record, the key stays the key (D8). Headers are the left record's (D9).
//   - A joiner that panics makes the record in hand a failed record (see processor.FailurePolicy); what else that record gives
//     is emitted, and it stays in its window.
//   - To find the partners of a record takes a time that grows with their number and with the logarithm of the number of records kept
//     of its key, in whatever order they come. To let a record go costs the same however many there are.
//   - Both topics have the same number of partitions: Build checks what is declared, App.Run what the server has. Keys meet wherever
//     they travel (stream.KeyIn): there is one hash of keys.
//
// # Caveats
//
//   - A right record that is not late itself may meet a left record that was told as unmatched before (Before > 0, records out of
//     order by more than Grace): both are told, as in Kafka Streams. A longer Grace avoids it.
//   - Windows close by event time. On a topic that falls silent they stay open, unless the topology has CloseOnIdle.
//   - Records are kept in memory for Before + After + Grace of event time, and a sixteenth more: a join holds rate times that span,
//     of both sides. App.StoreStats tells how many they are, and Window.MaxRows bounds them: a record beyond is a failed record, with
//     ErrFull, and never a silent loss. CollectUpTo bounds what a result carries, not what is kept.
//   - Rows are kept as JSON in the journal. What a type hides from JSON, such as unexported fields, is gone after a restart,
//     and a value that JSON cannot carry, such as NaN, is a failure at the commit (see processor.KeyValue) and never a row:
//     filter it out before the join.
//   - With Collect OnUpdate n left and m right records of one key and window give up to n + n*m results, each with its own slice of
//     rows: CollectUpTo bounds them.
package join
