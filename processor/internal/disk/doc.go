// Package disk is the database in which a process keeps the state that is larger than its memory: one for all of its tasks, each of
// which has a [Space] of its own.
//
// The database is a cache: what it holds comes from journals, and comes back from them when it is lost. It has no log of its own. A batch
// is applied whole or not at all; a process that is killed, or a machine that loses power, loses the youngest batches, and of those
// before them none. [Space.Durable] tells what cannot be lost any more: journals are to be kept until then.
//
// After the first error of the database itself, a full disk for example, nothing is read or written any more: every call returns it.
package disk
