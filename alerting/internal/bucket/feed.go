// Package bucket brings what is edited in a key-value bucket to a topic, each change to all of its partitions.
package bucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/stream"
)

// Bounds of a bucket: the bytes of one text, and the number of keys.
const (
	maxBytes = 64 << 10
	maxKeys  = 10_000
)

// Config says what is brought where.
type Config struct {
	// Bucket is the name of the bucket. The statuses are in the one of that name with "-status" behind. Both are made if there are none.
	Bucket   string
	Replicas int
	// What is the word for one thing in the bucket, such as rule.
	What string
	// Topic is where changes go. It is made if there is none.
	Topic stream.TopicSpec
	// Encode makes the record of a change. A text of nil is one that was removed. An error refuses a text.
	Encode func(c Change, text []byte) ([]byte, error)
	// Decode reads what Encode has made.
	Decode func(data []byte) (Change, error)
	// Logger is told of texts that are refused.
	Logger *zap.Logger
}

// Change is what is known of any record.
type Change struct {
	Name    string
	Version alerting.Version
	Removed bool
}

// Feed brings changes from a bucket to a topic.
type Feed struct {
	cfg    Config
	client *stream.Client
	epoch  int64
	bucket jetstream.KeyValue
	status jetstream.KeyValue
	// seen is the newest revision of each key that was taken.
	seen map[string]uint64
	// published is what each partition has of each key.
	published []map[string]published
	// count are the keys that are in force.
	count map[string]bool
}

// published is the newest change of a key in one partition.
type published struct {
	version alerting.Version
	removed bool
}

// Open makes what is missing and publishes what has changed since the last time: when it returns, all that was in the bucket is in the
// topic or refused. Run goes on from there.
func Open(ctx context.Context, nc *nats.Conn, client *stream.Client, cfg Config) (*Feed, error) {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	f := &Feed{cfg: cfg, client: client, seen: make(map[string]uint64), count: make(map[string]bool)}
	if err := f.open(ctx, nc); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", cfg.Bucket, err)
	}
	return f, nil
}

func (f *Feed) open(ctx context.Context, nc *nats.Conn) error {
	if err := f.client.CreateTopic(ctx, f.cfg.Topic); err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if f.bucket, err = OpenBucket(ctx, js, f.cfg.Bucket, f.cfg.Replicas); err != nil {
		return err
	}
	if f.status, err = openBucket(ctx, js, f.cfg.Replicas, f.cfg.Bucket+"-status", "What has become of the texts in "+f.cfg.Bucket+"."); err != nil {
		return err
	}
	held, err := js.Stream(ctx, "KV_"+f.cfg.Bucket)
	if err != nil {
		return err
	}
	f.epoch = held.CachedInfo().Created.UnixNano()
	if err := f.catchUp(ctx); err != nil {
		return err
	}
	return f.initial(ctx, held)
}

// OpenBucket opens the bucket that is edited as it is, or makes it.
func OpenBucket(ctx context.Context, js jetstream.JetStream, name string, replicas int) (jetstream.KeyValue, error) {
	return openBucket(ctx, js, replicas, name, "What is edited here is in force at once: see the statuses.")
}

func openBucket(ctx context.Context, js jetstream.JetStream, replicas int, name, description string) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, name)
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return kv, err
	}
	kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Description: description, History: 10, Replicas: replicas})
	if errors.Is(err, jetstream.ErrBucketExists) { // another instance was faster
		return js.KeyValue(ctx, name)
	}
	return kv, err
}

// initial publishes what the bucket has that the topic has not.
func (f *Feed) initial(ctx context.Context, held jetstream.Stream) error {
	if err := f.follow(ctx, false); err != nil {
		return err
	}
	info, err := held.Info(ctx)
	if err != nil {
		return err
	}
	for name := range f.count {
		if _, ok := f.seen[name]; ok {
			continue
		}
		// Not even a mark is left of its deletion.
		c := Change{Name: name, Version: alerting.Version{Epoch: f.epoch, Revision: info.State.LastSeq}, Removed: true}
		if err := errors.Join(f.publish(ctx, c, nil), f.say(ctx, c, Status{State: Removed})); err != nil {
			return err
		}
	}
	return nil
}

// Run publishes changes when they come, until ctx ends; the error is nil then.
func (f *Feed) Run(ctx context.Context) error {
	err := f.follow(ctx, true)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("bucket %s: %w", f.cfg.Bucket, err)
}

// follow takes what is in the bucket and, if it is to go on, what comes.
func (f *Feed) follow(ctx context.Context, on bool) error {
	watch, err := f.bucket.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer EndWatch(watch)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, ok := <-watch.Updates():
			switch {
			case !ok:
				return errors.New("the watcher has ended: the connection was closed")
			case entry == nil && !on:
				return nil
			case entry == nil:
				continue
			}
			if err := f.take(ctx, entry); err != nil {
				return err
			}
		}
	}
}

// EndWatch ends a watcher, and waits for its goroutine: that may be about to hand over an entry.
func EndWatch(watch jetstream.KeyWatcher) {
	_ = watch.Stop() // the connection may be gone, and the watcher with it
	for range watch.Updates() {
	}
}

// take publishes a change or refuses it.
func (f *Feed) take(ctx context.Context, entry jetstream.KeyValueEntry) error {
	if f.seen[entry.Key()] >= entry.Revision() {
		return nil
	}
	err := f.decide(ctx, entry)
	if err == nil {
		f.seen[entry.Key()] = entry.Revision()
	}
	return err
}

func (f *Feed) decide(ctx context.Context, entry jetstream.KeyValueEntry) error {
	c := Change{Name: entry.Key(), Version: alerting.Version{Epoch: f.epoch, Revision: entry.Revision()}}
	if entry.Operation() != jetstream.KeyValuePut {
		if !f.count[c.Name] {
			return f.say(ctx, c, Status{State: Removed})
		}
		c.Removed = true
		return errors.Join(f.publish(ctx, c, nil), f.say(ctx, c, Status{State: Removed}))
	}
	data, err := f.encode(c, entry.Value())
	if err != nil {
		f.cfg.Logger.Warn("a text is refused; the one before stays in force", zap.String("bucket", f.cfg.Bucket), zap.String(f.cfg.What, c.Name),
			zap.Uint64("revision", c.Version.Revision), zap.Error(err))
		return f.say(ctx, c, Status{State: Refused, Error: err.Error()})
	}
	if err := f.publish(ctx, c, data); err != nil {
		return err
	}
	return f.say(ctx, c, Status{State: InForce})
}

func (f *Feed) encode(c Change, text []byte) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	switch {
	case len(text) == 0:
		return nil, fmt.Errorf("the %s is empty: give it a text, or delete the key", f.cfg.What)
	case len(text) > maxBytes:
		return nil, fmt.Errorf("the %s has %d bytes: at most %d are taken", f.cfg.What, len(text), maxBytes)
	case len(f.count) >= maxKeys && !f.count[c.Name]:
		return nil, fmt.Errorf("there are %d in the bucket: at most %d are taken", len(f.count), maxKeys)
	}
	return f.cfg.Encode(c, text)
}

// publish sends a change to the partitions that do not have it; data is made here if it is of a removal.
func (f *Feed) publish(ctx context.Context, c Change, data []byte) (err error) {
	if data == nil {
		if data, err = f.cfg.Encode(c, nil); err != nil {
			return fmt.Errorf("encode the removal of %s %s: %w", f.cfg.What, c.Name, err)
		}
	}
	var batch []stream.Outgoing
	for p := range f.published {
		if had, ok := f.published[p][c.Name]; ok && !had.version.Before(c.Version) {
			continue
		}
		id := fmt.Sprintf("%s/%d/%d/%d/%s", f.cfg.Bucket, c.Version.Epoch, c.Version.Revision, p, c.Name)
		batch = append(batch, stream.Outgoing{Topic: f.cfg.Topic, Partition: p, Key: c.Name, Data: data, ID: id})
	}
	if err := f.client.Publish(ctx, batch); err != nil {
		return fmt.Errorf("publish the change of %s %s: %w", f.cfg.What, c.Name, err)
	}
	for _, o := range batch {
		f.published[o.Partition][c.Name] = published{c.Version, c.Removed}
	}
	if f.count[c.Name] = true; c.Removed {
		delete(f.count, c.Name)
	}
	return nil
}

// States of what is in a bucket.
const (
	InForce = "in force"
	Refused = "refused"
	Removed = "removed"
)

// Status is what has become of a text, as the status bucket has it in JSON.
type Status struct {
	// State is InForce, Refused or Removed; Revision that of the text in the bucket that it is about.
	State    string `json:"state"`
	Revision uint64 `json:"revision"`
	// Error says why a text was refused.
	Error string `json:"error,omitzero"`
	// InForce is the revision of the text that is in force, 0 for none. After a refusal it is an older one.
	InForce uint64 `json:"in_force,omitzero"`
}

// say writes a status, unless that is what it says.
func (f *Feed) say(ctx context.Context, c Change, s Status) error {
	s.Revision = c.Version.Revision
	for _, rules := range f.published {
		if p, ok := rules[c.Name]; ok && !p.removed && p.version.Epoch == f.epoch {
			s.InForce = p.version.Revision
		}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the status of %s %s: %w", f.cfg.What, c.Name, err)
	}
	if had, err := f.status.Get(ctx, c.Name); err == nil && string(had.Value()) == string(data) {
		return nil
	}
	if _, err := f.status.Put(ctx, c.Name, data); err != nil {
		return fmt.Errorf("write the status of %s %s, revision %d: %w", f.cfg.What, c.Name, s.Revision, err)
	}
	return nil
}
