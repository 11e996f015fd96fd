// Package streamtest is a log in memory for unit tests: code that takes a
// stream.Sender or a stream.Poller runs against it without a server.
//
// A Log has topics, NewProducer writes to them and NewConsumer reads them, with the
// partitions, offsets, codecs, headers, event times, duplicate ids, compaction and
// committed offsets that a server gives them, and members share the partitions of a
// group as the real ones do. What a test reads is there when Send returns. The
// clock stands still unless the test calls Advance.
//
// It differs from a server in this: MaxBytes, Replicas, Storage and Compression
// change nothing; nothing fails by itself; members are never silent, so that
// SessionTimeout and OnLost have no use; and a static Member gets its partitions
// back because its name gives it the same share, while others read them meanwhile.
package streamtest
