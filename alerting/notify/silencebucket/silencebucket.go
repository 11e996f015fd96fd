// Package silencebucket brings silences from a key-value bucket to a running app, as package rulebucket does with rules. The key is the ID of a
// silence, the value its JSON, that of Alertmanager's API:
//
//	nats kv put silences disks '{"matchers":[{"name":"alertname","value":"DiskFull"}],"startsAt":"2026-01-31T12:00:00Z",
//	  "endsAt":"2026-01-31T14:00:00Z","createdBy":"ann","comment":"new disks"}'
//	nats kv get silences-status disks    # in force, or refused, and why
//	nats kv del silences disks
package silencebucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/alerting/internal/bucket"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/stream"
)

// Config says what is brought where.
type Config struct {
	// Bucket is the name of the bucket. The statuses are in the one of that name with "-status" behind. Both are made if there are none,
	// with as many copies as Replicas says. Empty: "silences".
	Bucket   string
	Replicas int
	// Topic is where changes go, one made with notify.SilenceChanges. It is made if there is none. Required.
	Topic stream.Topic[notify.SilenceChange]
	// Logger is told of silences that are refused. Nil: nobody.
	Logger *zap.Logger
}

// Feed brings changes from a bucket to a topic. Its Run publishes changes when they come, until its context ends, and returns nil then.
type Feed = bucket.Feed

// Status is what has become of a silence, as the status bucket has it in JSON.
type Status = bucket.Status

// Open makes what is missing and publishes what has changed since the last time: when it returns, all that was in the bucket is in the
// topic or refused. Run goes on from there.
func Open(ctx context.Context, nc *nats.Conn, client *stream.Client, cfg Config) (*Feed, error) {
	if cfg.Bucket == "" {
		cfg.Bucket = "silences"
	}
	feed, err := bucket.Open(ctx, nc, client, bucket.Config{
		Bucket: cfg.Bucket, Replicas: cfg.Replicas, What: "silence", Topic: cfg.Topic.Spec(), Encode: encode, Decode: decode, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("silencebucket: %w", err)
	}
	return feed, nil
}

func encode(c bucket.Change, text []byte) ([]byte, error) {
	change := notify.SilenceChange{ID: c.Name, Version: c.Version}
	if !c.Removed {
		change.Silence = &notify.Silence{}
		if err := json.Unmarshal(text, change.Silence, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("the silence cannot be read: %w", err)
		}
		if change.Silence.CreatedBy == "" || change.Silence.Comment == "" {
			return nil, errors.New("the silence needs createdBy and comment: say who and why")
		}
		if change.Silence.ID != "" && change.Silence.ID != c.Name {
			return nil, fmt.Errorf("the silence is kept as %q and says that its ID is %q: leave id out", c.Name, change.Silence.ID)
		}
		change.Silence.ID = c.Name
		if err := change.Silence.Validate(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(change)
}

func decode(data []byte) (bucket.Change, error) {
	var c notify.SilenceChange
	err := json.Unmarshal(data, &c)
	return bucket.Change{Name: c.ID, Version: c.Version, Removed: c.Silence == nil}, err
}
