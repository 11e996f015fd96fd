// Package engine is the deterministic heart of a task: bytes in, bytes out, no clock, and no I/O but for
// stores on disk.
//
// A [Task] is one sub-topology on one partition. It is fed raw messages per input, processes the record with the lowest
// event time among its inputs, keeps state in typed stores and timers, and hands out a [Commit] now and then: one byte
// slice that holds everything since the commit before (positions, stream time, changes of state, produced records).
// Replaying the commits through [Task.Restore] gives the task back exactly as it was. The runtime in package processor
// and the test driver in processortest run the same code; they differ only in where the bytes come from and go to.
//
// A Task is not safe for concurrent use: one goroutine owns it.
//
// Vocabulary:
//
//   - stream time: the highest event time processed so far; it never goes back and is part of every commit.
//   - row: one entry of a store or one timer; it knows the commit that holds its latest value (its home).
//   - journal: the sequence of commits. Rows are rewritten ("ride along") so that its head can be trimmed.
//   - outbox: the records that a commit produced; they are delivered after the commit is durable.
package engine
