package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// StateError says that the journal of a task cannot be restored. See its fields.
type StateError = engine.StateError

// StateLostError says that a task has been processed before, and that its journal, or a part of it that is needed, is gone: the server has
// lost it, or somebody has deleted it. To go on with what is left would be silent loss of state and results that come twice.
type StateLostError struct {
	App    string
	Task   string // sub-topology and partition
	Reason string // what shows that something is missing
}

// Error says what is known and the ways out.
func (e *StateLostError) Error() string {
	return fmt.Sprintf("the state of task %s is lost: %s; restore the stream %s from a backup, or, to begin anew on purpose, reset the app (processor.Reset)",
		e.Task, e.Reason, journalOf(e.App, e.Task))
}

func (r *runner) lost(reason string, args ...any) error {
	return &StateLostError{App: r.app.topology.app, Task: r.task.ID(), Reason: fmt.Sprintf(reason, args...)}
}

// checkLost makes sure, when the journal has been read, that the task goes on with all of its state, or has none yet.
func (r *runner) checkLost(ctx context.Context, journal *stream.Journal) error {
	if err := r.checkWhole(); err != nil {
		return err
	}
	if head := journal.Head(); head > 0 && r.task.LastCommit() == 0 {
		return r.lost("its journal has had messages up to %d, and all its entries have been deleted", head)
	}
	err := r.checkBehind(ctx)
	if err == nil && r.task.LastCommit() == 0 {
		err = r.checkBegun(ctx)
	}
	var lost *StateLostError
	if errors.As(err, &lost) {
		// Whoever has the task may have gone on since the journal was read: then it has appended before anything else shows it.
		if err := journal.Verify(ctx); err != nil {
			return fmt.Errorf("take over: %w", err)
		}
	}
	return err
}

// checkBegun makes sure that a task without a commit has never had one.
func (r *runner) checkBegun(ctx context.Context) error {
	begun, err := r.app.evolved.hasBegun(ctx, r.task.ID(), true)
	if begun {
		return r.lost("it has been processed before, and its journal is empty")
	}
	return err
}

// checkBehind compares the journal with the group's durables, which follow it and are never before it, unless retention has moved them: the
// server keeps them from being before the oldest record.
func (r *runner) checkBehind(ctx context.Context) error {
	for i, p := range r.task.Positions() {
		at, err := r.app.client.CommittedAt(ctx, r.sub.plan.Inputs[i].Topic, r.app.topology.app, r.task.Partition())
		if isNoTopic(err) {
			continue // whoever reads it says so, if it stays so
		}
		if err != nil {
			return err
		}
		if at.Next <= max(p.Next, 1) {
			continue
		}
		offsets, err := r.app.client.Offsets(ctx, r.sub.plan.Inputs[i].Topic)
		if err != nil {
			return err
		}
		if at.Next > offsets[r.task.Partition()].First {
			return r.lost("its journal goes on at offset %d of topic %s, which has been processed up to offset %d by consumer group %s: it is older, or somebody has moved the group (then set it back with stream.Client.ResetGroup)",
				max(p.Next, 1), p.Topic, at.Next-1, r.app.topology.app)
		}
	}
	return nil
}

// checkWhole makes sure that the journal still has its head.
func (r *runner) checkWhole() error {
	if needed, first, late := r.task.BeginsLate(); late {
		return r.lost("something has been deleted from the head of its journal, which begins with commit %d, although commit %d is needed still", first, needed)
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
