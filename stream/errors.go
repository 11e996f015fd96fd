package stream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrNoJetStream says that the server, or the account of the connection,
	// has no JetStream.
	ErrNoJetStream = errors.New("stream: the server offers no JetStream to this connection (start nats-server with -js, or enable JetStream for the account)")

	// ErrFenced says that another owner has appended to a journal: this one is
	// stale and must drop its task. Every *FencedError matches it.
	ErrFenced = errors.New("stream: journal is owned by another writer")

	// ErrNotReplayed says that Append, Verify or Trim was called on a journal
	// before Replay, which is what finds the head.
	ErrNotReplayed = errors.New("stream: journal has not been replayed yet (call Replay first)")

	// ErrTrimmed says that the owner of a journal has trimmed entries that had not
	// been read yet: what has been read is outdated, begin anew.
	ErrTrimmed = errors.New("stream: journal has been trimmed beyond what was read (open it again and begin anew)")

	// ErrSilent is the last answer where there was none, although the connection is
	// there: what nats-server does whose disk is full or broken, or that misses most
	// replicas. Requests are repeated until their context ends, whose error it joins.
	ErrSilent = errors.New("the server does not answer: its disk may be full or broken, too many replicas away, or it is overloaded (see its log; after a full disk make room and restart it)")

	// ErrClosed says that the reader, consumer or producer has been closed.
	ErrClosed = errors.New("stream: closed")

	// ErrBadKey says that a subject token is not what EscapeKey produces.
	ErrBadKey = errors.New("stream: not an escaped key")

	// ErrBadReply says that a delivered message carries no JetStream position.
	ErrBadReply = errors.New("stream: reply subject carries no JetStream position")
)

// ServerVersionError says that the server is older than Rossby needs.
type ServerVersionError struct {
	// Have is the connected server's version, Need the oldest that will do.
	Have, Need string
}

// Error names both versions.
func (e *ServerVersionError) Error() string {
	return fmt.Sprintf("stream: nats-server %s is too old; version %s or later is needed (fast-ingest batches, consumer reset): upgrade the server", e.Have, e.Need)
}

// ConnectError says that Connect has not reached a server.
type ConnectError struct {
	// Target names the servers or the context, without secrets.
	Target string
	// Err is the reason, without secrets: nats.ErrAuthorization for example.
	Err error
}

// Error names target, reason and the way out.
func (e *ConnectError) Error() string {
	return fmt.Sprintf("stream: connect to %s: %v (is a server there, and do address and credentials fit?)", e.Target, e.Err)
}

// Unwrap gives the reason.
func (e *ConnectError) Unwrap() error { return e.Err }

// SpecError says what is wrong with a topic's description. All mistakes of one
// description are reported together.
type SpecError struct {
	// Topic is the name as given, possibly the mistake itself.
	Topic string
	// Problems has one sentence per mistake.
	Problems []string
}

// Error lists the mistakes.
func (e *SpecError) Error() string {
	return fmt.Sprintf("stream: topic %q is not valid: %s", e.Topic, strings.Join(e.Problems, "; "))
}

// NameError says that a journal's or consumer group's name cannot be used.
type NameError struct {
	// Kind is "journal" or "consumer group".
	Kind string
	// Name is the name as given.
	Name string
	// Problem is what is wrong with it.
	Problem string
}

// Error names the culprit and the rule.
func (e *NameError) Error() string {
	return fmt.Sprintf("stream: %s name %q is not valid: %s", e.Kind, e.Name, e.Problem)
}

// TopicNotFoundError says that a topic, or one partition of it, does not exist
// on the server, or no longer.
type TopicNotFoundError struct {
	// Topic and Partition say what was looked for.
	Topic     string
	Partition int
}

// Error names the topic and the way out.
func (e *TopicNotFoundError) Error() string {
	return fmt.Sprintf("stream: topic %q has no partition %d on this server: it was never created or has been deleted (create it with Client.CreateTopic)", e.Topic, e.Partition)
}

// KeyError says that a record cannot have that key. Nothing was sent.
type KeyError struct {
	// Topic and Key say which record.
	Topic, Key string
	// Problem is what is wrong with the key.
	Problem string
}

// Error names the topic, the key and the way out.
func (e *KeyError) Error() string {
	return fmt.Sprintf("stream: topic %q key %q cannot be used: %s", e.Topic, shortKey(e.Key), e.Problem)
}

// shortKey keeps messages readable where keys are not.
func shortKey(key string) string {
	const limit = 64
	if len(key) <= limit {
		return key
	}
	return key[:limit] + "..."
}

// Difference is one setting in which an existing topic is not what was asked.
type Difference struct {
	// Setting is its name, "partitions" for example.
	Setting string
	// Have is what the server has, Want what was asked for.
	Have, Want string

	why string // it can never change; empty: Client.AlterTopic changes it
}

// TopicMismatchError says that a topic exists and differs from what was asked.
type TopicMismatchError struct {
	// Topic is its name.
	Topic string
	// Differences has at least one entry.
	Differences []Difference
}

// Error shows both sides and what to do.
func (e *TopicMismatchError) Error() string {
	parts := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		parts[i] = fmt.Sprintf("%s is %s, asked for %s", d.Setting, d.Have, d.Want)
	}
	advice := "describe the topic as it exists, or change it with Client.AlterTopic"
	if e.fixed() != nil {
		advice = "describe the topic as it exists, or choose another name; the records in it would be lost or misplaced otherwise"
	}
	return fmt.Sprintf("stream: topic %q exists and differs: %s (%s)", e.Topic, strings.Join(parts, "; "), advice)
}

// fixed gives the differences that cannot be altered.
func (e *TopicMismatchError) fixed() []Difference {
	var fixed []Difference
	for _, d := range e.Differences {
		if d.why != "" {
			fixed = append(fixed, d)
		}
	}
	return fixed
}

// TopicFixedError says that a topic cannot be altered in the way asked for.
// Nothing was changed.
type TopicFixedError struct {
	// Topic is its name.
	Topic string
	// Differences are the settings that cannot change, at least one.
	Differences []Difference
}

// Error says for each setting why it cannot change, and what to do.
func (e *TopicFixedError) Error() string {
	parts := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		parts[i] = fmt.Sprintf("%s is %s and cannot become %s: %s", d.Setting, d.Have, d.Want, d.why)
	}
	return fmt.Sprintf("stream: alter topic %q: %s (create a topic of another name as it should be, copy the records, then move producers and consumers there)",
		e.Topic, strings.Join(parts, "; "))
}

// OffsetGoneError says that retention has removed records that a reader still
// needed. Reading on would skip them silently.
type OffsetGoneError struct {
	// Topic and Partition say where.
	Topic     string
	Partition int
	// Wanted is the next offset of the reader, First the oldest that exists.
	Wanted, First uint64
}

// Error names the hole and the way out.
func (e *OffsetGoneError) Error() string {
	return fmt.Sprintf("stream: topic %q partition %d: offset %d is gone, the oldest is %d: retention has overtaken the reader (keep records longer, or start again from the earliest offset and accept the hole)",
		e.Topic, e.Partition, e.Wanted, e.First)
}

// OffsetAheadError says that a reader wants to go on at an offset that the
// partition has not reached: the topic was deleted and made anew, or restored
// from a backup.
type OffsetAheadError struct {
	// Topic and Partition say where.
	Topic     string
	Partition int
	// Wanted is the next offset of the reader, Next the partition's next offset.
	Wanted, Next uint64
}

// Error names both offsets and the way out.
func (e *OffsetAheadError) Error() string {
	return fmt.Sprintf("stream: topic %q partition %d: offset %d is ahead of its end at %d: the topic was made anew or restored from a backup (reset the reader's position)",
		e.Topic, e.Partition, e.Wanted, e.Next)
}

// RemadeError says that a topic was deleted and made anew since a reader's offset was
// kept: at that offset there are other records now.
type RemadeError struct {
	// Topic and Partition say where.
	Topic     string
	Partition int
	// Was is when the partition was made that the offset is of, Is when the present one was.
	Was, Is time.Time
}

// Error names both times and the way out.
func (e *RemadeError) Error() string {
	return fmt.Sprintf("stream: topic %q partition %d was made anew at %s; the reader's offset is one of the topic that was made at %s (restore that one from a backup, or reset the reader's position)",
		e.Topic, e.Partition, e.Is.UTC().Format(time.RFC3339Nano), e.Was.UTC().Format(time.RFC3339Nano))
}

// TooLargeError says that a message exceeds what the server accepts. Nothing
// was sent.
type TooLargeError struct {
	// Topic and Key say which record.
	Topic, Key string
	// Size and Max are in bytes, headers included.
	Size, Max int64
}

// Error names sizes and the way out.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("stream: topic %q key %q: the message has %d bytes, the server accepts %d (make it smaller, or raise max_payload on the server)",
		e.Topic, e.Key, e.Size, e.Max)
}

// FencedError says that another owner has appended to the journal.
type FencedError struct {
	// Journal is its name.
	Journal string
	// Expected is the head that this owner knew, Actual the one found.
	Expected, Actual uint64
}

// Error names both heads.
func (e *FencedError) Error() string {
	return fmt.Sprintf("stream: journal %q is owned by another writer: its head is %d, this owner left it at %d (drop the task; its new owner has it)",
		e.Journal, e.Actual, e.Expected)
}

// Is makes errors.Is(err, ErrFenced) true.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// RewoundError says that a journal ends before what its owner has appended: its
// stream was restored from an older backup, or the server has lost data. Whatever
// the owner would append would be bound to entries that are not there.
type RewoundError struct {
	// Journal is its name.
	Journal string
	// Head is the last message that this owner knows of, Last the one found.
	Head, Last uint64
}

// Error names both ends and the way out.
func (e *RewoundError) Error() string {
	return fmt.Sprintf("stream: journal %q ends at %d, although its owner has appended up to %d: its stream was restored from an older backup, or the server has lost data (stop its owners and restore a newer backup, or begin anew)",
		e.Journal, e.Last, e.Head)
}

// JournalError says that a journal cannot be read or written.
type JournalError struct {
	// Journal is its name.
	Journal string
	// Err is the reason.
	Err error
}

// Error names the journal and the reason.
func (e *JournalError) Error() string {
	return fmt.Sprintf("stream: journal %q: %v", e.Journal, e.Err)
}

// Unwrap gives the reason.
func (e *JournalError) Unwrap() error { return e.Err }

// PublishError says that the server refused a record for good, so that sending
// it again would not help.
type PublishError struct {
	// Topic, Partition and Key say which record.
	Topic     string
	Partition int
	Key       string
	// Err is the server's reason.
	Err error
}

// Error names the record and the reason.
func (e *PublishError) Error() string {
	return fmt.Sprintf("stream: topic %q partition %d key %q: the server refuses the record: %v", e.Topic, e.Partition, e.Key, e.Err)
}

// Unwrap gives the server's reason.
func (e *PublishError) Unwrap() error { return e.Err }

// UndeliveredError says that records were in flight when their producer was
// closed: sent, and not acknowledged. Whether they are stored is not known.
type UndeliveredError struct {
	// Topic and Partition say where to.
	Topic     string
	Partition int
	// Records is their number, at least one.
	Records int
	// Err is the last trouble with the server, nil if there was none.
	Err error
}

// Error says how many and the way out.
func (e *UndeliveredError) Error() string {
	why := ""
	if e.Err != nil {
		why = fmt.Sprintf(" (last answer: %v)", e.Err)
	}
	return fmt.Sprintf("stream: topic %q partition %d: %d records were not acknowledged before the producer was closed and may or may not be stored%s (give Close more time, or Flush before)",
		e.Topic, e.Partition, e.Records, why)
}

// Unwrap gives the last trouble.
func (e *UndeliveredError) Unwrap() error { return e.Err }

// StorageError says that the server has no room left for what was asked, by its
// limits, or that its disk is full. Sending records and appending to journals is
// tried again until the context ends, since room may be made; making topics and
// journals is not where a limit is in the way. A server whose disk is full does not
// answer at all to most requests: ErrSilent.
type StorageError struct {
	// Err is the server's answer.
	Err error
}

// Error names the answer and the way out.
func (e *StorageError) Error() string {
	return fmt.Sprintf("the server has no room left, or its disk fails: %v (make room on its disk, raise its limits, or keep less: MaxAge, MaxBytes, MaxRecords)", e.Err)
}

// Unwrap gives the server's answer.
func (e *StorageError) Unwrap() error { return e.Err }

// ReplicasError says that there are not as many servers for the copies of a topic
// or journal as were asked for. Nothing was made or changed.
type ReplicasError struct {
	// Err is the server's answer.
	Err error
}

// Error names the answer and the way out.
func (e *ReplicasError) Error() string {
	return fmt.Sprintf("there are not enough servers for the replicas: %v (ask for fewer, or have as many servers with JetStream and room in one cluster)", e.Err)
}

// Unwrap gives the server's answer.
func (e *ReplicasError) Unwrap() error { return e.Err }

// typed makes the server's answers about storage *StorageErrors, those about too
// few servers *ReplicasErrors, and leaves all other errors alone.
func typed(err error) error {
	var api *jetstream.APIError
	var full *StorageError
	var few *ReplicasError
	if errors.As(err, &full) || errors.As(err, &few) || !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode {
	case codeAccountResources, codeInsufficientResources, codeMemoryResources, codeStorageResources, codeStoreFailed, codeCreateFailed:
		return &StorageError{Err: err}
	case codeNoPeers, codeReplicasNotSupported:
		return &ReplicasError{Err: err}
	}
	return err
}

// ClaimLostError says that a member of a group does not hold an item, a partition for
// example, any more: it was silent for longer than its session timeout and another
// member may have it, or it has been released. What it did since its last commit
// is done again by the new holder.
type ClaimLostError struct {
	// Group and Item are the names; those of consumer groups are
	// "consumer.<topic>.<group>" and the partition's number.
	Group string
	Item  string
}

// Error names the item and what happens.
func (e *ClaimLostError) Error() string {
	return fmt.Sprintf("stream: group %q: this member does not hold %s any more (it was revoked, or the member was silent for longer than its session timeout; drop what is not committed)", e.Group, e.Item)
}

// GroupsGoneError says that the log of all groups has vanished under a member: somebody has deleted it, or the server has lost its data.
type GroupsGoneError struct {
	Group string // whose member has noticed
}

// Error names the stream and the way out.
func (e *GroupsGoneError) Error() string {
	return fmt.Sprintf("stream: group %q: stream %s is gone: the server has lost it (see what else is missing, then let all members join again)", e.Group, groupsStream)
}

// MemberReplacedError says that another process has joined a group under the
// same static name.
type MemberReplacedError struct {
	Group  string
	Member string
}

// Error names the member and the way out.
func (e *MemberReplacedError) Error() string {
	return fmt.Sprintf("stream: group %q: another process has joined as member %q (give every process a name of its own)", e.Group, e.Member)
}

// GroupActiveError says that a consumer group cannot be reset or deleted because
// it has active members. Nothing was changed.
type GroupActiveError struct {
	// Topic, Partition and Group say where a member was seen.
	Topic     string
	Partition int
	Group     string
	// Reason is what it was seen doing.
	Reason string
}

// Error names the group, the reason and the way out.
func (e *GroupActiveError) Error() string {
	return fmt.Sprintf("stream: topic %q partition %d: consumer group %q is active: %s (stop its members first)", e.Topic, e.Partition, e.Group, e.Reason)
}

// EncodeError says that a value cannot be turned into bytes by the topic's
// codec: the record was not sent, and never can be.
type EncodeError struct {
	Topic string
	Key   string
	Err   error
}

// Error implements error.
func (e *EncodeError) Error() string {
	return fmt.Sprintf("stream: send to topic %q key %q: encode the value: %v", e.Topic, e.Key, e.Err)
}

// Unwrap gives the codec's error.
func (e *EncodeError) Unwrap() error { return e.Err }

// ErrNoService says that nobody answers requests on a subject: not at the moment, or not at all.
var ErrNoService = errors.New("nobody answers there")

// ServiceError is a service's refusal to answer.
type ServiceError struct {
	// Subject is where it was asked.
	Subject string
	// Code says of what kind it is: ServiceBadRequest, for example.
	Code int
	// Text is the service's own.
	Text string
}

// Error names the subject and what the service says.
func (e *ServiceError) Error() string {
	return fmt.Sprintf("stream: request to %s: refused with code %d: %s", e.Subject, e.Code, e.Text)
}
