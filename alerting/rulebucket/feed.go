package rulebucket

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/stream"
)

// Bounds of a bucket: the bytes of one rule, and the number of rules.
const (
	maxRuleBytes = 64 << 10
	maxRules     = 10_000
)

// Config says what is brought where.
type Config[V any] struct {
	// Bucket is the name of the bucket. The statuses are in the one of that name with "-status" behind. Both are made if there are none,
	// with as many copies as Replicas says. Empty: "rules".
	Bucket   string
	Replicas int
	// Topic is where changes go, one made with alerting.RuleChanges. It is made if there is none. Required.
	Topic stream.Topic[alerting.RuleChange]
	// Read reads the text of a rule, as in alerting.Live. Required.
	Read func(name, text string) (alerting.Loaded[V], error)
	// Logger is told of rules that are refused. Nil: nobody.
	Logger *zap.Logger
}

// Feed brings changes from a bucket to a topic.
type Feed[V any] struct {
	cfg    Config[V]
	client *stream.Client
	spec   stream.TopicSpec
	epoch  int64
	bucket jetstream.KeyValue
	status jetstream.KeyValue
	// seen is the newest revision of each rule that was taken.
	seen map[string]uint64
	// published is what each partition has of each rule.
	published []map[string]published
	// count are the rules that are in force.
	count map[string]bool
}

// published is the newest change of a rule in one partition.
type published struct {
	version alerting.Version
	removed bool
}

// Open makes what is missing and publishes what has changed since the last time: when it returns, all that was in the bucket is in the
// topic or refused. Run goes on from there.
func Open[V any](ctx context.Context, nc *nats.Conn, client *stream.Client, cfg Config[V]) (*Feed[V], error) {
	if cfg.Bucket == "" {
		cfg.Bucket = "rules"
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	f := &Feed[V]{cfg: cfg, client: client, spec: cfg.Topic.Spec(), seen: make(map[string]uint64), count: make(map[string]bool)}
	if cfg.Read == nil {
		return nil, errors.New("rulebucket: Config.Read is required")
	}
	if err := f.open(ctx, nc); err != nil {
		return nil, fmt.Errorf("rulebucket: bucket %s: %w", cfg.Bucket, err)
	}
	return f, nil
}

func (f *Feed[V]) open(ctx context.Context, nc *nats.Conn) error {
	if err := f.client.CreateTopic(ctx, f.spec); err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if f.bucket, err = f.openBucket(ctx, js, f.cfg.Bucket, "Rules. The key is the name."); err != nil {
		return err
	}
	if f.status, err = f.openBucket(ctx, js, f.cfg.Bucket+"-status", "What has become of rules."); err != nil {
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

// openBucket opens a bucket as it is, or makes it.
func (f *Feed[V]) openBucket(ctx context.Context, js jetstream.JetStream, name, description string) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(ctx, name)
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return kv, err
	}
	kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, Description: description, History: 10, Replicas: f.cfg.Replicas})
	if errors.Is(err, jetstream.ErrBucketExists) { // another instance was faster
		return js.KeyValue(ctx, name)
	}
	return kv, err
}

// initial publishes what the bucket has that the topic has not.
func (f *Feed[V]) initial(ctx context.Context, held jetstream.Stream) error {
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
		c := alerting.RuleChange{Name: name, Version: alerting.Version{Epoch: f.epoch, Revision: info.State.LastSeq}}
		if err := errors.Join(f.publish(ctx, c), f.say(ctx, c, Status{State: Removed})); err != nil {
			return err
		}
	}
	return nil
}

// Run publishes changes when they come, until ctx ends; the error is nil then.
func (f *Feed[V]) Run(ctx context.Context) error {
	err := f.follow(ctx, true)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("rulebucket: bucket %s: %w", f.cfg.Bucket, err)
}

// follow takes what is in the bucket and, if it is to go on, what comes.
func (f *Feed[V]) follow(ctx context.Context, on bool) error {
	watch, err := f.bucket.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = watch.Stop() }() // the connection may be gone, and the watcher with it
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

// take publishes a change or refuses it.
func (f *Feed[V]) take(ctx context.Context, entry jetstream.KeyValueEntry) error {
	if f.seen[entry.Key()] >= entry.Revision() {
		return nil
	}
	err := f.decide(ctx, entry)
	if err == nil {
		f.seen[entry.Key()] = entry.Revision()
	}
	return err
}

func (f *Feed[V]) decide(ctx context.Context, entry jetstream.KeyValueEntry) error {
	c := alerting.RuleChange{Name: entry.Key(), Version: alerting.Version{Epoch: f.epoch, Revision: entry.Revision()}}
	if entry.Operation() != jetstream.KeyValuePut {
		if !f.count[c.Name] {
			return f.say(ctx, c, Status{State: Removed})
		}
		return errors.Join(f.publish(ctx, c), f.say(ctx, c, Status{State: Removed}))
	}
	loaded, err := f.read(c.Name, entry.Value())
	if err != nil {
		f.cfg.Logger.Warn("a rule is refused; the one before stays in force", zap.String("bucket", f.cfg.Bucket), zap.String("rule", c.Name),
			zap.Uint64("revision", c.Version.Revision), zap.Error(err))
		return f.say(ctx, c, Status{State: Refused, Error: err.Error()})
	}
	c.Text, c.From = string(entry.Value()), loaded.From
	if err := f.publish(ctx, c); err != nil {
		return err
	}
	return f.say(ctx, c, Status{State: InForce})
}

func (f *Feed[V]) read(name string, text []byte) (loaded alerting.Loaded[V], err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	switch {
	case len(text) == 0:
		return loaded, errors.New("the rule is empty: give it a text, or delete the key")
	case len(text) > maxRuleBytes:
		return loaded, fmt.Errorf("the rule has %d bytes: at most %d are taken", len(text), maxRuleBytes)
	case len(f.count) >= maxRules && !f.count[name]:
		return loaded, fmt.Errorf("there are %d rules: at most %d are taken", len(f.count), maxRules)
	}
	loaded, err = f.cfg.Read(name, string(text))
	if err == nil {
		err = loaded.Rule.Validate()
	}
	return loaded, err
}

// publish sends a change to the partitions that do not have it.
func (f *Feed[V]) publish(ctx context.Context, c alerting.RuleChange) error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the change of rule %s: %w", c.Name, err)
	}
	var batch []stream.Outgoing
	for p := range f.published {
		if had, ok := f.published[p][c.Name]; ok && !had.version.Before(c.Version) {
			continue
		}
		id := fmt.Sprintf("%s/%d/%d/%d/%s", f.cfg.Bucket, c.Version.Epoch, c.Version.Revision, p, c.Name)
		batch = append(batch, stream.Outgoing{Topic: f.spec, Partition: p, Key: c.Name, Data: data, ID: id})
	}
	if err := f.client.Publish(ctx, batch); err != nil {
		return fmt.Errorf("publish the change of rule %s: %w", c.Name, err)
	}
	for _, o := range batch {
		f.published[o.Partition][c.Name] = published{c.Version, c.Text == ""}
	}
	if f.count[c.Name] = true; c.Text == "" {
		delete(f.count, c.Name)
	}
	return nil
}

// States of rules.
const (
	InForce = "in force"
	Refused = "refused"
	Removed = "removed"
)

// Status is what has become of a rule, as the status bucket has it in JSON.
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
func (f *Feed[V]) say(ctx context.Context, c alerting.RuleChange, s Status) error {
	s.Revision = c.Version.Revision
	for _, rules := range f.published {
		if p, ok := rules[c.Name]; ok && !p.removed && p.version.Epoch == f.epoch {
			s.InForce = p.version.Revision
		}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the status of rule %s: %w", c.Name, err)
	}
	if had, err := f.status.Get(ctx, c.Name); err == nil && string(had.Value()) == string(data) {
		return nil
	}
	if _, err := f.status.Put(ctx, c.Name, data); err != nil {
		return fmt.Errorf("write the status of rule %s, revision %s: %w", c.Name, strconv.FormatUint(s.Revision, 10), err)
	}
	return nil
}
