package processor

import (
	"context"
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/rossby-streams/rossby/stream"
)

// goneTopic gives the topic of an error that says that a position is none any more; "" for other errors.
func goneTopic(err error) string {
	var gone *stream.OffsetGoneError
	var remade *stream.RemadeError
	var ahead *stream.OffsetAheadError
	switch {
	case errors.As(err, &gone):
		return gone.Topic
	case errors.As(err, &remade):
		return remade.Topic
	case errors.As(err, &ahead):
		return ahead.Topic
	}
	return ""
}

// mayLeaveOut reports whether the policy lets the task go on elsewhere in an input after such an error.
func (r *runner) mayLeaveOut(input int, err error) bool {
	return goneTopic(err) == r.sub.plan.Inputs[input].Topic.Name && r.sub.sources[input].gone != GoneStop
}

// mayGoOn is mayLeaveOut for an error of any input.
func (r *runner) mayGoOn(err error) bool {
	topic := goneTopic(err)
	return topic != "" && slices.ContainsFunc(r.sub.sources, func(v *vertex) bool { return v.topic.Name == topic && v.gone != GoneStop })
}

// leaveOut moves the task to where its policy says.
func (r *runner) leaveOut(ctx context.Context, input int, why error) error {
	topic, policy := r.sub.plan.Inputs[input].Topic, r.sub.sources[input].gone
	offsets, err := r.app.client.Offsets(ctx, topic)
	if err != nil {
		return err
	}
	next := offsets[r.task.Partition()].First
	if policy == GoneLatest {
		next = offsets[r.task.Partition()].Next
	}
	r.log.Warn("records are left out, as the policy of the source says", zap.Stringer("policy", policy), zap.Uint64("next", next), zap.Error(why))
	r.task.Skip(input, next)
	// Before the journal says so: the durable must not be before it.
	return r.app.client.StoreOffset(ctx, topic, r.app.topology.app, r.task.Partition(), next)
}
