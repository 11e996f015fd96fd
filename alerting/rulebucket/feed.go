package rulebucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/internal/bucket"
	"github.com/rossby-streams/rossby/stream"
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

// Feed brings changes from a bucket to a topic. Its Run publishes changes when they come, until its context ends, and returns nil then.
type Feed = bucket.Feed

// Status is what has become of a rule, as the status bucket has it in JSON.
type Status = bucket.Status

// States of rules.
const (
	InForce = bucket.InForce
	Refused = bucket.Refused
	Removed = bucket.Removed
)

// Open makes what is missing and publishes what has changed since the last time: when it returns, all that was in the bucket is in the
// topic or refused. Run goes on from there.
func Open[V any](ctx context.Context, nc *nats.Conn, client *stream.Client, cfg Config[V]) (*Feed, error) {
	if cfg.Read == nil {
		return nil, errors.New("rulebucket: Config.Read is required")
	}
	if cfg.Bucket == "" {
		cfg.Bucket = "rules"
	}
	feed, err := bucket.Open(ctx, nc, client, bucket.Config{
		Bucket: cfg.Bucket, Replicas: cfg.Replicas, What: "rule", Topic: cfg.Topic.Spec(), Encode: cfg.encode, Decode: decode, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("rulebucket: %w", err)
	}
	return feed, nil
}

func (cfg *Config[V]) encode(c bucket.Change, text []byte) ([]byte, error) {
	change := alerting.RuleChange{Name: c.Name, Version: c.Version, Text: string(text)}
	if !c.Removed {
		loaded, err := cfg.Read(c.Name, change.Text)
		if err == nil {
			err = loaded.Rule.Validate()
		}
		if err != nil {
			return nil, err
		}
		change.From = loaded.From
	}
	return json.Marshal(change)
}

func decode(data []byte) (bucket.Change, error) {
	var c alerting.RuleChange
	err := json.Unmarshal(data, &c)
	return bucket.Change{Name: c.Name, Version: c.Version, Removed: c.Text == ""}, err
}
