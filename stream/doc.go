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
//     at-least-once. A record with an ID is looked for in its partition before it
//     is sent again; and the server drops what comes twice from anybody, for as
//     long as the topic's DuplicateWindow; it keeps every id in memory. An Outbox
//     binds its records to their places instead, where it can.
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
// What Kafka's topics, producers, consumers and groups are here, and what differs:
//
//	topic, partition, offset    Topic: the stream "<topic>-<p>" for each partition; its sequence, from 1
//	kafka-topics, Admin         CreateTopic (nothing is made by itself), DescribeTopic, ListTopics,
//	                            AlterTopic, DeleteTopic, Purge
//	num.partitions              Partitions; it cannot grow, where Kafka moves keys: TopicFixedError. Whoever
//	                            takes it for another number gets a TopicMismatchError
//	replication.factor          Replicas: 1, 3 or 5
//	min.insync.replicas         none: always the majority, and no unclean leader
//	retention.ms, .bytes        MaxAge, MaxBytes of each partition; MaxRecords, too
//	cleanup.policy=compact      Compact, at once and exactly: who begins later never sees older records
//	compact,delete              Compact with MaxAge: what age removes leaves a tombstone
//	delete.retention.ms         TombstoneTTL
//	null value                  ProducerRecord.Tombstone, Record.Tombstone
//	compression.type            Compression: on the server's disk; nothing is compressed on the wire
//	max.message.bytes           max_payload of the server: TooLargeError before anything is sent
//	message.timestamp.type      Record.Time: what the producer or Topic.Time gives, else that of storage
//	record key                  a string; escaped in the subject, for NATS tools, 1024 bytes at most, or
//	                            KeyIn Header without that limit
//	acks=0, 1, all              AcksNone, AcksLeader, AcksAll; the last two are one: a JetStream leader
//	                            answers after the majority
//	enable.idempotence          always, for as long as the producer lives; Unmarked turns it off
//	transactional.id            none: a record's ID is stored once within DuplicateWindow, and processors
//	                            commit output with positions
//	max.in.flight.requests      no limit that order needs: nothing is ever reordered
//	buffer.memory, max.block.ms MaxInFlight, MaxInFlightBytes of each partition; Send waits with its context
//	batch.size, linger.ms       none: records leave at once; Linger delays acknowledgements alone
//	retries, delivery.timeout   without end, within the contexts of Flush and Close: UndeliveredError; what
//	                            the server refuses for good is a PublishError
//	Future, Callback            ProducerRecord.Done: it tells the partition and no offset
//	flush, close                Flush, Close
//	serializers                 Codec: JSON, String, Bytes or your own
//	partitioner                 Partition: FNV-1a, as the server's mappings have it (Kafka: murmur2); without
//	                            a key 512 in a row go to each; Publish takes a partition of your choice
//	headers, timestamp          Headers, ProducerRecord.Time
//	subscribe, assign           NewConsumer, of one topic; OpenReader, of one partition without a group
//	poll, max.poll.records      Poll, of one partition at a time; MaxPollRecords
//	max.poll.interval.ms        none: a member that does not Poll keeps its partitions
//	fetch.min, max.bytes        none: records come when they are stored; MaxInFlight of each partition
//	auto.offset.reset           Start, without a position: Earliest, Latest, AtTime, AtOffset; a position
//	                            that retention has passed is an OffsetGoneError, never a jump
//	enable.auto.commit          AutoCommit, off by default
//	commitSync, commitAsync     Commit, CommitOffset; none
//	pause, resume, seek         Pause, Resume, Seek
//	offsetsForTimes, endOffsets OffsetsAt, Offsets
//	deserialization errors      Record.Err: the record comes, with its Data
//	group.id, group.instance.id ConsumerConfig.Group, ConsumerConfig.Member
//	session.timeout.ms          SessionTimeout, 5 s; heartbeats are four to one
//	coordinator, generations    Membership: a log that members write by compare-and-set; a commit with an
//	                            old Claim is a ClaimLostError
//	partition.assignment        Assign: rendezvous hashing with bounded load, co-operative, no leader; members
//	                            beyond the partitions wait, and take over
//	onPartitionsAssigned        OnAssigned, which may also set where to begin: positions kept with results
//	onPartitionsRevoked, Lost   OnRevoked, OnLost
//	__consumer_offsets, lag     durables of the group's name, as `nats consumer report` shows; Committed
//	kafka-consumer-groups       Groups, Members, DeleteGroup
//	--reset-offsets             ResetGroup: ToEarliest, ToLatest, ToTime, ToOffset, ShiftBy
//	MockProducer, MockConsumer  package streamtest
//	without a counterpart       isolation.level, client.rack, interceptors, consumers of several topics
package stream
