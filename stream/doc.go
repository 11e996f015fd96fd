// Package stream gives NATS JetStream the shape of a partitioned log: topics
// with keys, partitions and offsets, producers, consumer groups, and the fenced
// journals in which processors commit. It knows NATS and no topology.
//
// # Vocabulary
//
//   - Topic: a named, typed, partitioned log. Each partition is one backing
//     stream, "<topic>-<p>", with the subjects "<topic>.<p>.<key>".
//   - Key: a string. The same key goes to the same partition and keeps its
//     order there. Dots make composite keys on which NATS wildcards select.
//   - Offset: the sequence in the backing stream: 1, 2, 3 and so on.
//   - Producer: sends records without waiting for each.
//   - Consumer group: a name under which positions are kept, one durable
//     consumer per partition with that name. Its members, Consumers, share
//     the partitions.
//   - Membership: how members share anything: partitions, tasks.
//   - Claim: what makes one member the holder of a partition. The server takes
//     a commit only with the claim that it knows last.
//   - Reader: reads one partition and keeps no position on the server.
//   - Journal: the commit log of one owner. An owner that has been replaced
//     cannot append to it any more.
//
// # Guarantees
//
//   - Records of one partition are read in the order in which they are stored,
//     and stored in the order in which one producer sent them, whatever fails
//     in between.
//   - A record that a Producer sent is stored once: retries, lost answers,
//     restarts and changes of leader do not store it twice.
//   - A record that Flush or Publish has confirmed is stored: on the disk's way
//     on one server, on a majority where the topic has replicas.
//   - Readers and consumers skip nothing: a hole that retention tore is an
//     error.
//   - Every record is read by each group at least once, whoever comes, goes or
//     dies. What was polled after the last Commit of a member that died is read
//     again; with a clean leave nothing is that was committed in OnRevoked.
//   - A member that was silent for its session timeout and wakes up cannot
//     commit: ClaimLostError. Positions do not go back through it.
//   - Where the consumer stores its positions with its results, conditional on
//     the results before, and begins there in OnAssigned, each record counts
//     exactly once.
//   - An entry of a journal is stored whole or not at all, and only if nobody
//     else has appended since.
//   - Everything resumes after reconnects, restarts and changes of leader, as
//     long as the context given allows.
//
// # Caveats
//
//   - A record without an ID that was sent with Client.Publish, or by a producer
//     with Unmarked, may be stored twice when the server's answer is lost:
//     at-least-once. With an ID the server drops the second one, for as long as
//     the topic's DuplicateWindow; it keeps every id in memory.
//   - A producer that ends, or is killed, before Flush has confirmed its records
//     does not know what is stored; another one that sends them again stores them
//     twice, unless they have IDs.
//   - Headers make reading 20 to 25 percent slower, and the mark of a producer is
//     one. Records of Client.Publish carry none unless they are given headers or
//     an ID.
//   - A producer takes a record for not stored when the server's answer was lost
//     and retention, compaction or a purge removed the record before the producer
//     could look for it.
//   - The number of partitions cannot change: keys would move.
//   - Verify and CaughtUp ask the leader. One that has been cut off and does not
//     know it yet may answer with what was true a moment ago; an append does not.
//
// # From Kafka
//
//	partition.assignment.strategy   Assign: rendezvous hashing, co-operative, no leader
//	group.id, group.instance.id     ConsumerConfig.Group, Member
//	session.timeout.ms              SessionTimeout; heartbeats are four to one
//	max.poll.interval.ms            none: a member that does not Poll keeps its partitions
//	max.poll.records                MaxPollRecords
//	auto.offset.reset               Start; a position that retention has passed is an error
//	enable.auto.commit              AutoCommit, off by default
//	commitSync, commitSync(offsets) Commit, CommitOffset
//	pause, resume, seek             Pause, Resume, Seek
//	onPartitionsAssigned            OnAssigned, which may also set where to begin
//	onPartitionsRevoked, Lost       OnRevoked, OnLost
//	kafka-consumer-groups           Groups, Members, Committed, ResetGroup, DeleteGroup
package stream
