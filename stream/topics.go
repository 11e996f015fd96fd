package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The metadata of a backing stream is where the truth about a topic lives.
const (
	metaTopic      = "rossby.topic"
	metaPartitions = "rossby.partitions"
	metaVersion    = "rossby.version"
	metaKeyIn      = "rossby.key-in" // absent: in the subject
	layoutVersion  = "1"
)

// createWidth is how many backing streams are created at a time. A replicated
// one takes an election each.
const createWidth = 4

func (s Storage) jetstream() jetstream.StorageType {
	if s == Memory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// streamConfig is the backing stream of partition p.
func (c *Client) streamConfig(spec TopicSpec, p int) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name:               spec.BackingStream(p),
		Description:        fmt.Sprintf("Rossby topic %s, partition %d of %d", spec.Name, p, spec.Partitions),
		Subjects:           spec.subjects(p),
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardOld,
		MaxAge:             spec.MaxAge,
		Duplicates:         spec.DuplicateWindow,
		Storage:            spec.Storage.jetstream(),
		Replicas:           spec.Replicas,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		AllowBatchPublish:  true,
		Metadata: map[string]string{
			metaTopic:      spec.Name,
			metaPartitions: strconv.Itoa(spec.Partitions),
			metaVersion:    layoutVersion,
		},
	}
	if in := spec.keyInMeta(); in != "" {
		cfg.Metadata[metaKeyIn] = in
	}
	if spec.Storage == DefaultStorage {
		cfg.Storage = c.cfg.Storage.jetstream()
	}
	if spec.Replicas == 0 {
		cfg.Replicas = c.cfg.Replicas
	}
	return cfg
}

// CreateTopic makes the topic's partitions. A topic that exists as described is
// left alone; one that differs is a *TopicMismatchError and is left alone too.
// Settings that spec leaves at zero match whatever an existing topic has. An
// interrupted creation is completed by the next one.
func (c *Client) CreateTopic(ctx context.Context, spec TopicSpec) error {
	spec = spec.withDefaults()
	if err := spec.Validate(); err != nil {
		return err
	}
	// Partition 0 is the arbiter: of two clients that create the same topic with
	// different settings at the same time, one creates it, the other one sees
	// the difference before it has made anything.
	if err := c.createPartition(ctx, spec, 0); err != nil {
		return err
	}
	parts := make([]int, 0, spec.Partitions-1)
	for p := 1; p < spec.Partitions; p++ {
		parts = append(parts, p)
	}
	return inParallel(parts, func(p int) error { return c.createPartition(ctx, spec, p) })
}

func (c *Client) createPartition(ctx context.Context, spec TopicSpec, p int) error {
	want := c.streamConfig(spec, p)
	for {
		info, err := c.streamInfo(ctx, want.Name)
		if err == nil {
			return spec.compare(info.Config)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream: look up topic %q partition %d: %w", spec.Name, p, err)
		}
		err = c.ask(ctx, func(ctx context.Context) error {
			_, err := c.js.CreateStream(ctx, want)
			return err
		})
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("stream: create topic %q partition %d: %w", spec.Name, p, err)
		}
		// Somebody else created it in between: compare again.
	}
}

// keyInMeta is how the metadata says KeyIn.
func (s TopicSpec) keyInMeta() string {
	if s.KeyIn == Subject {
		return ""
	}
	return s.KeyIn.String()
}

// keyInOf reads what keyInMeta gives.
func keyInOf(meta string) KeyIn {
	if meta == Header.String() {
		return Header
	}
	return Subject
}

// compare tells how an existing backing stream differs from the description.
func (s TopicSpec) compare(have jetstream.StreamConfig) error {
	var diffs []Difference
	add := func(setting string, have, want any) {
		diffs = append(diffs, Difference{Setting: setting, Have: fmt.Sprint(have), Want: fmt.Sprint(want)})
	}
	switch {
	case have.Metadata[metaTopic] != s.Name:
		add("backing stream "+have.Name, "not Rossby's", "a partition of this topic")
	case have.Metadata[metaVersion] != layoutVersion:
		add("layout version", have.Metadata[metaVersion], layoutVersion)
	case have.Metadata[metaPartitions] != strconv.Itoa(s.Partitions):
		add("number of partitions", have.Metadata[metaPartitions], s.Partitions)
	}
	if s.Replicas != 0 && have.Replicas != s.Replicas {
		add("number of replicas", have.Replicas, s.Replicas)
	}
	if s.Storage != DefaultStorage && have.Storage != s.Storage.jetstream() {
		add("storage", have.Storage, s.Storage.jetstream())
	}
	if got := have.Metadata[metaKeyIn]; got != s.keyInMeta() {
		add("KeyIn", keyInOf(got), s.KeyIn)
	}
	if have.MaxAge != s.MaxAge {
		add("MaxAge", age(have.MaxAge), age(s.MaxAge))
	}
	if have.Duplicates != s.DuplicateWindow {
		add("DuplicateWindow", have.Duplicates, s.DuplicateWindow)
	}
	if len(diffs) > 0 {
		return &TopicMismatchError{Topic: s.Name, Differences: diffs}
	}
	return nil
}

func age(d time.Duration) string {
	if d == 0 {
		return "unlimited"
	}
	return d.String()
}

// PartitionOffsets is the extent of one partition.
type PartitionOffsets struct {
	// Partition is its number.
	Partition int
	// First is the oldest offset that exists; equal to Next when there is none.
	First uint64
	// Next is the offset of the next record to come: the last one plus 1.
	Next uint64
	// Records is how many there are. It may be less than Next minus First.
	Records uint64
}

// Offsets gives the extent of every partition, in order. A missing partition is
// a *TopicNotFoundError.
func (c *Client) Offsets(ctx context.Context, spec TopicSpec) ([]PartitionOffsets, error) {
	spec = spec.withDefaults()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	out := make([]PartitionOffsets, spec.Partitions)
	parts := make([]int, spec.Partitions)
	for p := range parts {
		parts[p] = p
	}
	err := inParallel(parts, func(p int) error {
		info, err := c.streamInfo(ctx, spec.BackingStream(p))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return &TopicNotFoundError{Topic: spec.Name, Partition: p}
		}
		if err != nil {
			return fmt.Errorf("stream: offsets of topic %q partition %d: %w", spec.Name, p, err)
		}
		out[p] = extent(info.State)
		out[p].Partition = p
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func extent(s jetstream.StreamState) PartitionOffsets {
	o := PartitionOffsets{First: s.FirstSeq, Next: s.LastSeq + 1, Records: s.Msgs}
	if s.Msgs == 0 {
		o.First = o.Next
	}
	return o
}

// inParallel runs fn for every item, a few at a time, and joins the errors.
func inParallel[T any](items []T, fn func(T) error) error {
	if len(items) == 1 {
		return fn(items[0])
	}
	errs := make([]error, len(items))
	next := make(chan int)
	done := make(chan struct{})
	width := min(createWidth, len(items))
	for range width {
		go func() {
			for i := range next {
				errs[i] = fn(items[i])
			}
			done <- struct{}{}
		}()
	}
	for i := range items {
		next <- i
	}
	close(next)
	for range width {
		<-done
	}
	return errors.Join(errs...)
}
