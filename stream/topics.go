package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The metadata of a backing stream is where the truth about a topic lives,
// together with the stream's own settings.
const (
	metaTopic      = "rossby.topic"
	metaPartitions = "rossby.partitions"
	metaVersion    = "rossby.version"
	metaKeyIn      = "rossby.key-in"        // absent: in the subject
	metaTombstones = "rossby.tombstone-ttl" // of compacted topics
	metaDeleting   = "rossby.deleting"      // on partition 0, while its topic is deleted
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

func (c Compression) jetstream() jetstream.StoreCompression {
	if c == S2 {
		return jetstream.S2Compression
	}
	return jetstream.NoCompression
}

// streamConfig is the backing stream of partition p.
func (c *Client) streamConfig(spec TopicSpec, p int) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name:               spec.BackingStream(p),
		Description:        fmt.Sprintf("Rossby topic %s, partition %d of %d", spec.Name, p, spec.Partitions),
		Subjects:           spec.subjects(p),
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardOld,
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
	if spec.KeyIn != Subject {
		cfg.Metadata[metaKeyIn] = spec.KeyIn.String()
	}
	if spec.Compact {
		cfg.MaxMsgsPerSubject = 1
	}
	if spec.Storage == DefaultStorage {
		cfg.Storage = c.cfg.Storage.jetstream()
	}
	if spec.Replicas == 0 {
		cfg.Replicas = c.cfg.Replicas
	}
	spec.apply(&cfg)
	return cfg
}

// apply puts those settings into cfg that can change while the topic lives.
func (s TopicSpec) apply(cfg *jetstream.StreamConfig) {
	if s.Replicas != 0 {
		cfg.Replicas = s.Replicas
	}
	cfg.MaxAge = s.MaxAge
	cfg.MaxBytes = s.MaxBytes
	cfg.MaxMsgs = s.MaxRecords
	cfg.Duplicates = s.DuplicateWindow
	cfg.Compression = s.Compression.jetstream()
	if !s.Compact {
		return
	}
	cfg.Metadata[metaTombstones] = s.TombstoneTTL.String()
	cfg.AllowMsgTTL = true
	cfg.SubjectDeleteMarkerTTL = 0
	if s.MaxAge > 0 {
		// What age removes leaves a tombstone, too: readers of the table see it go.
		cfg.SubjectDeleteMarkerTTL = s.TombstoneTTL
		cfg.AllowRollup = true // the server asks for it
	}
}

// specOf reads a description back from a backing stream.
func specOf(cfg jetstream.StreamConfig) TopicSpec {
	s := TopicSpec{
		Name:            cfg.Metadata[metaTopic],
		Replicas:        cfg.Replicas,
		Storage:         File,
		MaxAge:          cfg.MaxAge,
		MaxBytes:        max(cfg.MaxBytes, 0), // -1 stands for no limit
		MaxRecords:      max(cfg.MaxMsgs, 0),
		Compact:         cfg.MaxMsgsPerSubject == 1,
		DuplicateWindow: cfg.Duplicates,
	}
	s.Partitions, _ = strconv.Atoi(cfg.Metadata[metaPartitions])         // 0 matches no topic
	s.TombstoneTTL, _ = time.ParseDuration(cfg.Metadata[metaTombstones]) // absent: 0
	if cfg.Storage == jetstream.MemoryStorage {
		s.Storage = Memory
	}
	if cfg.Metadata[metaKeyIn] == Header.String() {
		s.KeyIn = Header
	}
	if cfg.Compression == jetstream.S2Compression {
		s.Compression = S2
	}
	return s
}

// CreateTopic makes the topic's partitions. A topic that exists as described is
// left alone; one that differs is a *TopicMismatchError and is left alone too.
// Replicas and Storage that spec leaves at zero match whatever an existing topic
// has. A creation, change or deletion that was interrupted is completed first.
func (c *Client) CreateTopic(ctx context.Context, spec TopicSpec) error {
	spec = spec.withDefaults()
	if err := spec.Validate(); err != nil {
		return err
	}
	for {
		// Partition 0 is the arbiter: of two clients that create the same topic with
		// different settings at the same time, one creates it, the other one sees
		// the difference before it has made anything.
		have, err := c.createPartition(ctx, spec, 0)
		if err != nil {
			return err
		}
		if have.Metadata[metaDeleting] == "" {
			break
		}
		if err := c.deletePartitions(ctx, specOf(have)); err != nil {
			return err
		}
	}
	return inParallel(partitionsAfter(0, spec), func(p int) error { return c.matchPartition(ctx, spec, p) })
}

// partitionsAfter lists the partitions of a topic that come after p.
func partitionsAfter(p int, spec TopicSpec) []int {
	var parts []int
	for p++; p < spec.Partitions; p++ {
		parts = append(parts, p)
	}
	return parts
}

// createPartition makes a partition that is missing and gives the settings it
// has. It must be as described.
func (c *Client) createPartition(ctx context.Context, spec TopicSpec, p int) (jetstream.StreamConfig, error) {
	want := c.streamConfig(spec, p)
	for {
		info, err := c.streamInfo(ctx, want.Name)
		if err == nil {
			if info.Config.Metadata[metaDeleting] != "" && info.Config.Metadata[metaTopic] == spec.Name {
				return info.Config, nil // whatever it was
			}
			return info.Config, spec.compare(info.Config)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return want, fmt.Errorf("stream: look up topic %q partition %d: %w", spec.Name, p, err)
		}
		err = c.ask(ctx, func(ctx context.Context) error {
			_, err := c.js.CreateStream(ctx, want)
			return err
		})
		if err == nil {
			return want, nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return want, fmt.Errorf("stream: create topic %q partition %d: %w", spec.Name, p, err)
		}
		// Somebody else created it in between: compare again.
	}
}

// matchPartition makes partition p like partition 0, which is as described.
func (c *Client) matchPartition(ctx context.Context, spec TopicSpec, p int) error {
	_, err := c.createPartition(ctx, spec, p)
	var differs *TopicMismatchError
	if !errors.As(err, &differs) || differs.fixed() != nil {
		return err
	}
	// A change of settings was interrupted. Partition 0 had it first.
	arbiter, err := c.createPartition(ctx, spec, 0)
	if err != nil || arbiter.Metadata[metaDeleting] != "" {
		return err
	}
	return c.updatePartition(ctx, spec, p)
}

// compare tells how an existing backing stream differs from the description.
func (s TopicSpec) compare(have jetstream.StreamConfig) error {
	var diffs []Difference
	switch {
	case have.Metadata[metaTopic] != s.Name:
		diffs = []Difference{{Setting: "backing stream " + have.Name, Have: "not Rossby's", Want: "a partition of this topic", why: "another program made it"}}
	case have.Metadata[metaVersion] != layoutVersion:
		diffs = []Difference{{Setting: "layout version", Have: have.Metadata[metaVersion], Want: layoutVersion, why: "another version of Rossby made it"}}
	default:
		diffs = s.differences(specOf(have))
	}
	if len(diffs) > 0 {
		return &TopicMismatchError{Topic: s.Name, Differences: diffs}
	}
	return nil
}

// laidOut makes sure that the topic is what somebody who writes or reads it takes it
// for, in all that cannot change: with another number of partitions a producer would
// put keys where nobody looks for them, and a consumer would miss whole partitions.
func (c *Client) laidOut(ctx context.Context, spec TopicSpec) error {
	cfg, err := c.topicConfig(ctx, spec.Name)
	if err == nil && cfg.Metadata[metaDeleting] != "" {
		err = &TopicNotFoundError{Topic: spec.Name}
	}
	if err != nil {
		return err
	}
	var differs *TopicMismatchError
	if errors.As(spec.compare(cfg), &differs) {
		if fixed := differs.fixed(); fixed != nil {
			return &TopicMismatchError{Topic: spec.Name, Differences: fixed}
		}
	}
	return nil
}

// differences lists what is not as asked for.
func (s TopicSpec) differences(have TopicSpec) []Difference {
	if s.Replicas == 0 {
		s.Replicas = have.Replicas
	}
	if s.Storage == DefaultStorage {
		s.Storage = have.Storage
	}
	var diffs []Difference
	for _, d := range []Difference{
		{Setting: "number of partitions", Have: fmt.Sprint(have.Partitions), Want: fmt.Sprint(s.Partitions),
			why: "keys would change their partition and lose their order"},
		{Setting: "storage", Have: have.Storage.String(), Want: s.Storage.String(), why: "the server cannot move records between storages"},
		{Setting: "KeyIn", Have: have.KeyIn.String(), Want: s.KeyIn.String(), why: "the keys of the records in it are where they are"},
		{Setting: "Compact", Have: fmt.Sprint(have.Compact), Want: fmt.Sprint(s.Compact),
			why: "records that readers still need would go, or keys that they rely on"},
		{Setting: "number of replicas", Have: fmt.Sprint(have.Replicas), Want: fmt.Sprint(s.Replicas)},
		{Setting: "MaxAge", Have: limit(have.MaxAge), Want: limit(s.MaxAge)},
		{Setting: "MaxBytes", Have: limit(have.MaxBytes), Want: limit(s.MaxBytes)},
		{Setting: "MaxRecords", Have: limit(have.MaxRecords), Want: limit(s.MaxRecords)},
		{Setting: "DuplicateWindow", Have: have.DuplicateWindow.String(), Want: s.DuplicateWindow.String()},
		{Setting: "compression", Have: have.Compression.String(), Want: s.Compression.String()},
		{Setting: "TombstoneTTL", Have: have.TombstoneTTL.String(), Want: s.TombstoneTTL.String()},
	} {
		if d.Have != d.Want {
			diffs = append(diffs, d)
		}
	}
	return diffs
}

// limit shows a setting whose zero value is no limit.
func limit[T int64 | time.Duration](n T) string {
	if n == 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
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
