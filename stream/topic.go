package stream

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Storage says where the records of a topic or journal are kept.
type Storage int

const (
	// DefaultStorage is what the client's Config says.
	DefaultStorage Storage = iota
	// File keeps records on disk.
	File
	// Memory keeps records in the server's memory; they end with it.
	Memory
)

// String gives "default", "file" or "memory".
func (s Storage) String() string {
	switch s {
	case DefaultStorage:
		return "default"
	case File:
		return "file"
	case Memory:
		return "memory"
	}
	return "storage(" + strconv.Itoa(int(s)) + ")"
}

// KeyIn says where the keys of a topic's records travel.
type KeyIn int

const (
	// Subject: the key is the end of the subject, so that every NATS tool can
	// filter on it and get the last record of a key. The default. The server keeps
	// an index of all keys in memory.
	Subject KeyIn = iota
	// Header: the key is in the Rossby-Key header and all records of a partition
	// have one subject. For topics with millions of keys. Headers make reading
	// slower, and such a topic cannot be compacted.
	Header
)

// String gives "subject" or "header".
func (k KeyIn) String() string {
	switch k {
	case Subject:
		return "subject"
	case Header:
		return "header"
	}
	return "keyin(" + strconv.Itoa(int(k)) + ")"
}

// Compression says how the server stores records on disk.
type Compression int

const (
	// NoCompression stores records as they are. The default.
	NoCompression Compression = iota
	// S2 compresses blocks of records, which saves disk for text such as JSON and
	// costs the server CPU. It changes nothing on the wire and nothing in memory.
	S2
)

// String gives "none" or "s2".
func (c Compression) String() string {
	switch c {
	case NoCompression:
		return "none"
	case S2:
		return "s2"
	}
	return "compression(" + strconv.Itoa(int(c)) + ")"
}

const (
	// defaultDuplicateWindow is JetStream's own default.
	defaultDuplicateWindow = 2 * time.Minute
	// defaultTombstoneTTL is that of Kafka's delete.retention.ms.
	defaultTombstoneTTL = 24 * time.Hour
	// maxPartitions keeps the number of Raft groups within what a cluster bears.
	maxPartitions = 4096
	// maxName leaves room for "-<partition>" in a stream name of 255 bytes.
	maxName = 200
	// reservedPrefix is kept for what Rossby stores for itself.
	reservedPrefix = "_rossby"
)

// Topic is a named, typed, partitioned log of values V. It is a description, a
// plain value: it may be copied and compared with nothing on the server until a
// Client creates it, reads it or writes it.
type Topic[V any] struct {
	// Name is required: letters, digits, '_' and '-', at most 200 bytes.
	Name string
	// Partitions is the number of partitions. 0: 1. It cannot change later,
	// because keys would change their partition.
	Partitions int
	// Replicas is the number of copies on different servers: 1, 3 or 5.
	// 0: the client's default for a new topic, whatever it has for an old one.
	Replicas int
	// Storage is where records are kept. DefaultStorage: the client's default
	// for a new topic, whatever it has for an old one.
	Storage Storage
	// MaxAge is how long records are kept. 0: for ever.
	MaxAge time.Duration
	// MaxBytes is how many bytes each partition keeps, subjects, headers and the
	// server's own bytes for each record included; the oldest records go first. 0:
	// no limit.
	MaxBytes int64
	// MaxRecords is how many records each partition keeps; the oldest go first. 0:
	// no limit.
	MaxRecords int64
	// Compact keeps the last record of each key only: the topic is a table. A
	// record without data is a tombstone: its key has no value any more. Records
	// without a key are refused. A reader sees the offsets that are left, in order.
	// It cannot change later.
	Compact bool
	// TombstoneTTL is how long a compacted topic keeps a tombstone, so that readers
	// that were away see it; after that nothing is left of the key. It is what
	// producers use from then on; tombstones keep theirs. At least a second, in
	// whole seconds. 0: 24 hours.
	TombstoneTTL time.Duration
	// Compression is how records are stored on disk. Default: not compressed.
	Compression Compression
	// DuplicateWindow is how long the server remembers message ids to drop
	// what comes twice. It costs the server memory for each id within it; an
	// Outbox that is a partition's only writer sends next to none.
	// 0: two minutes, or MaxAge if that is shorter.
	DuplicateWindow time.Duration
	// KeyIn says where keys travel. Default: in the subject. It cannot change later.
	KeyIn KeyIn
	// Codec turns values into bytes. nil: JSON.
	Codec Codec[V]
	// Time gives the event time of a value. nil: the Rossby-Time header where a
	// record has one, else the time at which the server stored it.
	Time func(V) time.Time
}

// Spec gives the description without its type, with defaults in place.
func (t Topic[V]) Spec() TopicSpec {
	return TopicSpec{
		Name:            t.Name,
		Partitions:      t.Partitions,
		Replicas:        t.Replicas,
		Storage:         t.Storage,
		MaxAge:          t.MaxAge,
		MaxBytes:        t.MaxBytes,
		MaxRecords:      t.MaxRecords,
		Compact:         t.Compact,
		TombstoneTTL:    t.TombstoneTTL,
		Compression:     t.Compression,
		DuplicateWindow: t.DuplicateWindow,
		KeyIn:           t.KeyIn,
	}.withDefaults()
}

func (t Topic[V]) codec() Codec[V] {
	if t.Codec == nil {
		return JSON[V]()
	}
	return t.Codec
}

// TopicSpec describes a topic without the type of its values. The fields mean
// what they mean in Topic.
type TopicSpec struct {
	Name            string
	Partitions      int
	Replicas        int
	Storage         Storage
	MaxAge          time.Duration
	MaxBytes        int64
	MaxRecords      int64
	Compact         bool
	TombstoneTTL    time.Duration
	Compression     Compression
	DuplicateWindow time.Duration
	KeyIn           KeyIn
}

func (s TopicSpec) withDefaults() TopicSpec {
	if s.Partitions == 0 {
		s.Partitions = 1
	}
	if s.DuplicateWindow == 0 {
		s.DuplicateWindow = defaultDuplicateWindow
		if s.MaxAge > 0 && s.MaxAge < s.DuplicateWindow {
			s.DuplicateWindow = s.MaxAge
		}
	}
	if s.Compact && s.TombstoneTTL == 0 {
		s.TombstoneTTL = defaultTombstoneTTL
	}
	return s
}

// Validate checks everything that can be checked without a server. The error is
// a *SpecError with all mistakes.
func (s TopicSpec) Validate() error {
	var p []string
	add := func(format string, v ...any) { p = append(p, fmt.Sprintf(format, v...)) }
	if problem := nameProblem(s.Name); problem != "" {
		add("its name %s", problem)
	}
	if s.Partitions < 0 || s.Partitions > maxPartitions {
		add("it has %d partitions, not 1 to %d", s.Partitions, maxPartitions)
	}
	if !legalReplicas(s.Replicas) {
		add("it has %d replicas, not 1, 3 or 5 (or 0 for the client's default)", s.Replicas)
	}
	if s.Storage < DefaultStorage || s.Storage > Memory {
		add("its storage is %v, not File or Memory", s.Storage)
	}
	if s.KeyIn < Subject || s.KeyIn > Header {
		add("its KeyIn is %v, not Subject or Header", s.KeyIn)
	}
	if s.Compression < NoCompression || s.Compression > S2 {
		add("its compression is %v, not NoCompression or S2", s.Compression)
	}
	if s.MaxBytes < 0 {
		add("its MaxBytes is %d, which is negative", s.MaxBytes)
	}
	if s.MaxRecords < 0 {
		add("its MaxRecords is %d, which is negative", s.MaxRecords)
	}
	p = append(p, s.timeProblems()...)
	p = append(p, s.compactProblems()...)
	if len(p) > 0 {
		return &SpecError{Topic: s.Name, Problems: p}
	}
	return nil
}

// legalReplicas: an even number of copies survives no more failures than the odd
// one below it. 0 leaves the choice to somebody else.
func legalReplicas(n int) bool { return n == 0 || n == 1 || n == 3 || n == 5 }

func (s TopicSpec) timeProblems() []string {
	var p []string
	add := func(format string, v ...any) { p = append(p, fmt.Sprintf(format, v...)) }
	if s.MaxAge < 0 {
		add("its MaxAge is %v, which is negative", s.MaxAge)
	} else if s.MaxAge > 0 && s.MaxAge < 100*time.Millisecond {
		add("its MaxAge is %v; the server takes no less than 100ms", s.MaxAge)
	}
	if s.DuplicateWindow < 0 {
		add("its DuplicateWindow is %v, which is negative", s.DuplicateWindow)
	} else if s.DuplicateWindow > 0 && s.DuplicateWindow < 100*time.Millisecond {
		add("its DuplicateWindow is %v; the server takes no less than 100ms", s.DuplicateWindow)
	} else if s.MaxAge > 0 && s.DuplicateWindow > s.MaxAge {
		add("its DuplicateWindow of %v is longer than its MaxAge of %v", s.DuplicateWindow, s.MaxAge)
	}
	return p
}

func (s TopicSpec) compactProblems() []string {
	switch {
	case !s.Compact && s.TombstoneTTL != 0:
		return []string{"it has a TombstoneTTL and is not compacted (set Compact, or leave TombstoneTTL at 0)"}
	case !s.Compact:
		return nil
	}
	var p []string
	if s.KeyIn == Header {
		p = append(p, "it is compacted and its keys are in headers: the server finds the records of a key by their subject (use KeyIn: Subject)")
	}
	if s.TombstoneTTL != 0 && (s.TombstoneTTL < time.Second || s.TombstoneTTL%time.Second != 0) {
		p = append(p, fmt.Sprintf("its TombstoneTTL is %v, not a whole number of seconds, at least one", s.TombstoneTTL))
	}
	return p
}

// nameProblem says what is wrong with a name, and "" when nothing is.
func nameProblem(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return fmt.Sprintf("has %d bytes, the limit is %d", len(name), maxName)
	case strings.HasPrefix(name, reservedPrefix):
		return fmt.Sprintf("starts with %q, which is reserved", reservedPrefix)
	}
	for _, c := range name {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return fmt.Sprintf("has %q; only letters, digits, '_' and '-' are allowed", c)
		}
	}
	return ""
}

// BackingStream names the JetStream stream that holds partition p.
func (s TopicSpec) BackingStream(p int) string {
	return s.Name + "-" + strconv.Itoa(p)
}

// Subject is where a record with that key is published in partition p. Where
// KeyIn is Header, that is one subject for all keys.
func (s TopicSpec) Subject(p int, key string) string {
	if s.KeyIn == Header {
		return s.subjectPrefix(p) + keylessToken
	}
	return s.subjectPrefix(p) + EscapeKey(key)
}

// subjectPrefix ends with the dot before the key.
func (s TopicSpec) subjectPrefix(p int) string {
	return s.Name + "." + strconv.Itoa(p) + "."
}

// subjects are those that the backing stream of partition p takes.
func (s TopicSpec) subjects(p int) []string {
	if s.KeyIn == Header {
		return []string{s.Subject(p, "")}
	}
	return []string{s.subjectPrefix(p) + ">"}
}

// EventTime gives the event time of a record: the Rossby-Time header where there
// is one, else what Time gives for the value, else the time of storage. A header
// that is no RFC 3339 time is an error.
func (t Topic[V]) EventTime(v V, h Headers, stored time.Time) (time.Time, error) {
	if s := h.Get(TimeHeader); s != "" {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return time.Time{}, fmt.Errorf("stream: the %s header is not a time: %w", TimeHeader, err)
		}
		return at, nil
	}
	if t.Time != nil {
		return t.Time(v), nil
	}
	return stored, nil
}
