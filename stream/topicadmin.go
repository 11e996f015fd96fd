package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TopicInfo is a topic as the server has it.
type TopicInfo struct {
	// Spec describes it, with nothing left to defaults.
	Spec TopicSpec
	// Partitions has one entry each, in order.
	Partitions []PartitionInfo
	// Unfinished names what was interrupted, "creation", "change" or "deletion",
	// and is to be called again. Empty: nothing, as a rule.
	Unfinished string
}

// PartitionInfo is one partition as the server has it.
type PartitionInfo struct {
	PartitionOffsets
	// Missing says that there is no such partition: a creation or deletion of the
	// topic was interrupted. All else is zero then.
	Missing bool
	// Bytes is what its records take.
	Bytes uint64
	// LastTime is when the last record was stored; zero when there never was one.
	LastTime time.Time
	// Leader is the name of the server that leads it, as far as one is known.
	Leader string
	// InSync is the number of copies that are up to date, the leader's included.
	InSync int
}

// DescribeTopic finds a topic by nothing but its name. One that does not exist
// is a *TopicNotFoundError.
func (c *Client) DescribeTopic(ctx context.Context, name string) (TopicInfo, error) {
	cfg, err := c.topicConfig(ctx, name)
	if err != nil {
		return TopicInfo{}, fmt.Errorf("stream: describe topic %q: %w", name, err)
	}
	t := TopicInfo{Spec: specOf(cfg)}
	t.Partitions = make([]PartitionInfo, t.Spec.Partitions)
	like := make([]bool, t.Spec.Partitions) // it is as partition 0
	err = inParallel(partitionsAfter(-1, t.Spec), func(p int) error {
		info, err := c.streamInfo(ctx, t.Spec.BackingStream(p))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Partitions[p].Partition, t.Partitions[p].Missing = p, true
			return nil
		}
		if err != nil {
			return fmt.Errorf("stream: describe topic %q partition %d: %w", name, p, err)
		}
		t.Partitions[p] = partitionInfo(p, info)
		like[p] = t.Spec.compare(info.Config) == nil
		return nil
	})
	if err != nil {
		return TopicInfo{}, err
	}
	switch {
	case cfg.Metadata[metaDeleting] != "":
		t.Unfinished = "deletion"
	case slices.ContainsFunc(t.Partitions, func(p PartitionInfo) bool { return p.Missing }):
		t.Unfinished = "creation"
	case slices.Contains(like, false):
		t.Unfinished = "change"
	}
	return t, nil
}

func partitionInfo(p int, info *jetstream.StreamInfo) PartitionInfo {
	i := PartitionInfo{PartitionOffsets: extent(info.State), Bytes: info.State.Bytes, InSync: 1}
	i.Partition = p
	if info.State.LastSeq > 0 {
		i.LastTime = info.State.LastTime
	}
	if info.Cluster != nil {
		i.Leader = info.Cluster.Leader
		for _, r := range info.Cluster.Replicas {
			if r.Current && !r.Offline {
				i.InSync++
			}
		}
	}
	return i
}

// topicConfig gives the settings of partition 0, which is made first and deleted
// last: the topic exists as long as it does.
func (c *Client) topicConfig(ctx context.Context, name string) (jetstream.StreamConfig, error) {
	var none jetstream.StreamConfig
	if problem := nameProblem(name); problem != "" {
		return none, &SpecError{Topic: name, Problems: []string{"its name " + problem}}
	}
	info, err := c.streamInfo(ctx, TopicSpec{Name: name}.BackingStream(0))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return none, &TopicNotFoundError{Topic: name}
	}
	if err != nil {
		return none, err
	}
	if info.Config.Metadata[metaTopic] != name || info.Config.Metadata[metaVersion] != layoutVersion {
		return none, TopicSpec{Name: name}.compare(info.Config)
	}
	return info.Config, nil
}

// ListTopics gives every topic that this connection can see, by name.
func (c *Client) ListTopics(ctx context.Context) ([]TopicInfo, error) {
	var first []string // backing streams that may be a partition 0
	err := c.ask(ctx, func(ctx context.Context) error {
		first = first[:0]
		names := c.js.StreamNames(ctx, jetstream.WithStreamListSubject("*.0.>"))
		for n := range names.Name() {
			if topic, ok := strings.CutSuffix(n, "-0"); ok {
				first = append(first, topic)
			}
		}
		return names.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("stream: list topics: %w", err)
	}
	slices.Sort(first)
	found := make([]TopicInfo, len(first))
	err = inParallel(first, func(name string) error {
		t, err := c.DescribeTopic(ctx, name)
		var foreign *TopicMismatchError
		var gone *TopicNotFoundError
		var odd *SpecError
		if errors.As(err, &foreign) || errors.As(err, &gone) || errors.As(err, &odd) {
			return nil
		}
		i, _ := slices.BinarySearch(first, name)
		found[i] = t
		return err
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(t TopicInfo) bool { return t.Spec.Name == "" }), nil
}

// AlterTopic changes an existing topic to the description: retention, replicas,
// duplicate window, compression, tombstones. Replicas and Storage that are zero
// stay as they are, all else is set, so begin with what DescribeTopic gives.
// What cannot change, the number of partitions above all, is a *TopicFixedError,
// and nothing is changed then. An alteration that was interrupted is completed
// by the next one.
func (c *Client) AlterTopic(ctx context.Context, spec TopicSpec) error {
	spec = spec.withDefaults()
	if err := spec.Validate(); err != nil {
		return err
	}
	cfg, err := c.topicConfig(ctx, spec.Name)
	if err == nil && cfg.Metadata[metaDeleting] != "" {
		err = &TopicNotFoundError{Topic: spec.Name}
	}
	if err != nil {
		return fmt.Errorf("stream: alter topic %q: %w", spec.Name, err)
	}
	var differs *TopicMismatchError
	if errors.As(spec.compare(cfg), &differs) {
		if fixed := differs.fixed(); fixed != nil {
			return &TopicFixedError{Topic: spec.Name, Differences: fixed}
		}
	}
	// What the description leaves open is what partition 0 has, for partitions
	// that are missing.
	have := specOf(cfg)
	spec.Storage = have.Storage
	if spec.Replicas == 0 {
		spec.Replicas = have.Replicas
	}
	if err := c.updatePartition(ctx, spec, 0); err != nil {
		return err
	}
	return inParallel(partitionsAfter(0, spec), func(p int) error {
		_, err := c.createPartition(ctx, spec, p)
		var differs *TopicMismatchError
		if errors.As(err, &differs) {
			err = c.updatePartition(ctx, spec, p)
		}
		return err
	})
}

// updatePartition brings the settings that can change into one partition.
func (c *Client) updatePartition(ctx context.Context, spec TopicSpec, p int) error {
	info, err := c.streamInfo(ctx, spec.BackingStream(p))
	if err == nil && spec.compare(info.Config) != nil {
		cfg := info.Config
		spec.apply(&cfg)
		err = c.ask(ctx, func(ctx context.Context) error {
			_, err := c.js.UpdateStream(ctx, cfg)
			return err
		})
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = &TopicNotFoundError{Topic: spec.Name, Partition: p}
	}
	if err != nil {
		return fmt.Errorf("stream: alter topic %q partition %d: %w", spec.Name, p, err)
	}
	return nil
}

// DeleteTopic removes a topic with its records and the positions of its consumer
// groups. Whoever still produces to it or reads it gets a *TopicNotFoundError;
// so does DeleteTopic where there is none. A deletion that was interrupted is
// completed by the next one, or by CreateTopic.
func (c *Client) DeleteTopic(ctx context.Context, name string) error {
	cfg, err := c.topicConfig(ctx, name)
	if err == nil && cfg.Metadata[metaDeleting] == "" {
		// A topic of which half is gone must never be taken for a whole one.
		cfg.Metadata[metaDeleting] = "true"
		err = c.ask(ctx, func(ctx context.Context) error {
			_, err := c.js.UpdateStream(ctx, cfg)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("stream: delete topic %q: %w", name, err)
	}
	return c.deletePartitions(ctx, specOf(cfg))
}

// deletePartitions removes the backing streams, that of partition 0 last.
func (c *Client) deletePartitions(ctx context.Context, spec TopicSpec) error {
	drop := func(p int) error {
		err := c.ask(ctx, func(ctx context.Context) error { return c.js.DeleteStream(ctx, spec.BackingStream(p)) })
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream: delete topic %q partition %d: %w", spec.Name, p, err)
		}
		return nil
	}
	if err := inParallel(partitionsAfter(0, spec), drop); err != nil {
		return err
	}
	// A later topic of the name must not inherit positions.
	if err := c.forgetGroups(ctx, "consumer."+spec.Name+"."); err != nil {
		return fmt.Errorf("stream: delete topic %q: forget its groups: %w", spec.Name, err)
	}
	return drop(0)
}
