// Package processor describes topologies of streams and runs them exactly-once.
//
//	b := processor.NewBuilder("wordcount")
//	words := processor.FlatMap(processor.From(b, Lines), strings.Fields)
//	byWord := processor.KeyBy(words, "by-word", func(w string) string { return w })
//	processor.Count(byWord, processor.Counting{Name: "count"}).To(Counts)
//	topology, err := b.Build()
//	...
//	err = processor.NewApp(client, topology, processor.Config{}).Run(ctx)
//
// # The one rule of the DSL
//
// An operation that keeps the type of its stream is a method (Filter, Peek, Branch, Merge, To); one that changes it is a function
// (Map, MapRecord, FlatMap, KeyBy, Aggregate, Reduce, Count, CoGroup, ToTable, Process; Union is Merge for results that have a stream
// inside).
// Map changes values and never keys; KeyBy changes keys and never values, so that a repartition topic shows at one word. Whatever keeps
// state or makes a topic has a written name, unique in the topology.
//
// # Windows
//
// Aggregate, Reduce, Count and CoGroup make one value of many: per key, or per key and window.
//
//	Tumbling(1h)         [9:00, 10:00) [10:00, 11:00) ...    the end does not belong to the window
//	Hopping(1h, 15m)     [9:00, 10:00) [9:15, 10:15) ...     a record belongs to four of them
//	Sliding(1h)          [t-1h, t] for records at t          both ends belong; one window per distinct set of records
//	Session(30m)         from first to last record           with no gap longer than that; MaxLength bounds it
//	Daily, Weekly, Monthly                                   in a time zone; a day may have 23 or 25 hours
//
// A window has closed when stream time has reached its end plus grace; a record that all its windows have closed for is late, goes to
// Late, and changes nothing. OnUpdate emits each new result at once; OnClose emits one result per key and window, when it has
// closed. An input that falls silent keeps its last windows open, unless Builder.CloseOnIdle lets stream time follow the clock.
//
// # Tables
//
// A Table is a flow of updates: TableFrom a compacted topic, ToTable of a stream, Aggregated.Table of an aggregate. A tombstone, a
// record without data, deletes a row. Filter and MapTable make tables of it, GroupBy and an aggregation make totals over it, Stream and
// Changes make streams, To writes it to a topic. A GlobalTable is whole in every instance. Package join joins them.
//
// # Stores
//
// Process has named, typed stores: KeyValueStore, ExpiringStore (values with a time to live), WindowStore, SessionStore,
// VersionedStore (what was, as of a time).
//
// # Failures
//
// FailurePolicy says what becomes of a failed record: DeadLetter (the default), Skip, Stop, or Retry with a back-off and one of these
// after the last attempt; for the whole topology (Builder.OnFailure) or for a source, an operator (Stream.OnFailure) or a sink
// (Sink.OnFailure). A dead letter carries the record's own bytes and headers, and says where it was read, which operator refused it
// and why, at which attempt, when. Redrive sends letters back.
//
// # Instances
//
// Start an app as often as you like, on as many machines: the instances share its tasks. When one comes, the tasks that move to it
// go on where they are until it has read their journals; when one stops, its tasks are taken over at once; when one dies, after
// Config.SessionTimeout. With Config.Standby a second instance has a warm copy of each task, and what is left of a take-over does
// not depend on how large the state is.
//
// App.Pause lets an instance rest with all it has processed committed; Reset deletes what an app keeps on the server.
//
// # Queries
//
// Instances with Config.Queries answer what others ask of the stores of their tasks, over a NATS service: see Query, and, for the
// subjects, docs/queries.md. What an owner answers is committed; copies (Config.Standby) can be asked instead.
//
// # Vocabulary
//
//   - topology: what an app does, checked by Build. sub-topology: a part of it between repartition topics.
//   - task: one sub-topology on one partition, one goroutine that owns its state.
//   - event time: when a record happened. stream time: the highest event time that a task has processed; it never goes back.
//   - journal: the fenced log of a task's commits. outbox: the records that a commit produced.
//   - failed record: one that cannot be decoded, has no key where one is needed, or was refused by a user function, which
//     includes a panic. What happens to it is the FailurePolicy, of the topology or of the operator: dead letter by default.
//
// # Guarantees
//
//   - Exactly-once: positions, stream time, timers, state and produced records of a batch are one message in the journal. It is
//     there or it is not. Produced records are published after it, with identities: whoever does not know whether they are
//     stored, because an answer was lost or because it has taken the task over, looks at what the topic holds.
//   - A stale owner, one whose task another instance has taken over, is fenced: its next commit fails, and nothing of it is
//     ever published. One that has slept, or was cut off, looks at its journal before it goes on to publish. Run returns an
//     error that wraps stream.ErrFenced.
//   - A restart changes no result: stream time and timers are part of the commit.
//   - Run returns within Config.StopTimeout and a few seconds more once it is asked to, whoever does not answer: the server, a function of the
//     user, a receiver.
//   - A task takes the record with the lowest event time among its inputs; the order within a partition never changes. An input
//     that has run dry is waited for if the server has more of it, and not if it is caught up.
//   - A failed record leaves no trace but its dead letter: stores, timers and what was forwarded are as if it had not come; nor
//     does a failed attempt of a Retry.
//   - Timers fire in order of time, operator and key, before the record that moved stream time past them is processed, and with
//     stream time set to their own time.
//   - Records of one key keep their order from a topic, through operators and repartition topics, to a topic.
//   - What is no topic (Stream.Deliver) is handed over at least once, after the commit, each record with a token that names it.
//   - An answer of an owner to a Query is committed, and none that comes later is older; a stale owner does not answer.
//   - A crash loses nothing that was stored and delivers nothing twice; what had not been committed is processed again.
//   - With Config.Guarantee at AtLeastOnce, records are published before the commit that produced them, and without identities: state and
//     positions are as above, but what was published since the last commit of an instance that dies, or is stale, is published again.
//   - A topology that cannot go on with the state that is there does not start, and disturbs nobody: *EvolutionError. A journal that is
//     gone, cut, older than it was or not readable is a *StateLostError or a *StateError, never a new beginning; so is a topic that was
//     made anew a *stream.RemadeError, never one that is read from the middle (but see Stream.OnOffsetGone).
//   - A rolling upgrade loses nothing: instances whose topology adds to the state wait until the former ones have gone (docs/evolution.md).
//
// # Caveats
//
//   - User functions must be pure, but for Process and its stores: they are called again for records that a crash has undone.
//   - State is in memory, stores on disk if they are told to (see Medium); timers are always in memory. A journal is at most about twice the
//     live state, three and a half times with stores on disk, and is read once at the start, for tasks with stores on disk
//     only from where they stand.
//   - Instances of one app whose topologies keep the same state share its tasks, whatever else differs: a record is processed by the code
//     of whoever has its task. A bounded run takes all tasks over: instances that are running end when they commit next.
//   - A copy of a task with a store on disk is on the disk of whoever keeps it: each instance needs the room for the tasks that it follows, too.
//   - A dead letter is a whole record: one branch or one result of many that fails takes the others of the record back. Give such an
//     operator the policy Skip if the rest should stay.
//   - Records that a stale owner had handed to the network before it was replaced may arrive after those of its successor. The server refuses
//     them where they name their places. It drops them by their ids where others write to the partition too, and in deliveries of few records, unless
//     they are late by more than the topic's DuplicateWindow (2 minutes by default): do not make it shorter than networks stall.
//   - What an app publishes has the header Nats-Msg-Id where it goes by ids, and not where it goes by places: code that reads such a topic cannot rely on it.
//   - A record cannot be larger than the server's max_payload; a commit can.
package processor
