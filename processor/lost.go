package processor

import (
	"context"
	"fmt"
	"slices"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// StateError says that the journal of a task cannot be restored. See its fields.
type StateError = engine.StateError

// StateLostError says that a task has been processed before, and that its journal is gone or empty: the server has lost it, or somebody
// has deleted it. To begin at the start of the topics would be silent loss of state and results that come twice.
type StateLostError struct {
	App  string
	Task string // sub-topology and partition
	// Topic is an input of which the app's consumer group has processed everything before Next.
	Topic string
	Next  uint64
}

// Error says what is known and the ways out.
func (e *StateLostError) Error() string {
	return fmt.Sprintf("the journal of task %s is empty, but topic %s has been processed up to offset %d: its state is lost; restore the stream %s-%s-journal from a backup, or, to begin anew on purpose, delete consumer group %s of the topic too",
		e.Task, e.Topic, e.Next-1, e.App, e.Task, e.App)
}

// checkLost tells a task that begins from one whose journal is gone.
func (r *runner) checkLost(ctx context.Context) error {
	app := r.app.topology.app
	for _, in := range r.sub.plan.Inputs {
		at, err := r.app.client.CommittedAt(ctx, in.Topic, app, r.task.Partition())
		if err != nil {
			return err
		}
		if at.Next > 1 {
			return &StateLostError{App: app, Task: r.task.ID(), Topic: in.Topic.Name, Next: at.Next}
		}
	}
	return nil
}

// findFormerSinks asks the server for the topics of records that an earlier topology has left undelivered and this one does not write.
func (r *runner) findFormerSinks(ctx context.Context, outbox []stream.Outgoing) error {
	former := make(map[string]stream.TopicSpec)
	for i := range outbox {
		name := outbox[i].Topic.Name
		if slices.ContainsFunc(r.sub.plan.Sinks, func(s engine.Sink) bool { return s.Topic.Name == name }) {
			continue
		}
		spec, known := former[name]
		if !known {
			info, err := r.app.client.DescribeTopic(ctx, name)
			if err != nil {
				return fmt.Errorf("there are undelivered records for %q, which this topology does not write: bring the sink back until they are delivered: %w", name, err)
			}
			spec = info.Spec
			former[name] = spec
		}
		outbox[i].Topic = spec
	}
	return nil
}
