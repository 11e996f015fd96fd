// Package disk is the database in which a process keeps the state that is larger than its memory: one for all of its tasks, each of
// which has a [Space] of its own.
//
// The database is a cache: what it holds comes from journals, and comes back from them when it is lost. So nothing is synced. A
// process that is killed loses nothing, since the operating system has what was written; a machine that loses power loses the youngest
// batches, and of those before them none. A batch is applied whole or not at all.
//
// After the first error of the database itself, a full disk for example, nothing is read or written any more: every call returns it.
package disk
