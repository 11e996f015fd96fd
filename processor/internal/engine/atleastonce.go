package engine

import (
	"strconv"

	"github.com/rossby-streams/rossby/stream"
)

// AtLeastOnce makes the task's commits hold state and positions only: their outboxes must be delivered before they are stored. attempt
// names this run of the task, and no other one: a commit of that number may be made again, of other records.
func (t *Task) AtLeastOnce(attempt string) { t.attempt = attempt }

// unnamed gives the messages of a commit no identity, since the next one of the same number may be another message. What is for no
// topic has a token that no other attempt uses.
func (t *Task) unnamed(number uint64, messages []outMessage) []stream.Outgoing {
	out := make([]stream.Outgoing, len(messages))
	for i, m := range messages {
		sink := &t.plan.Sinks[m.sink]
		out[i] = stream.Outgoing{Topic: sink.Topic, Partition: m.partition, Key: m.key, Data: m.data, Headers: m.headers}
		if sink.External {
			out[i].ID = t.plan.App + "/" + t.ID() + "/" + strconv.FormatUint(number, 10) + "-" + t.attempt + "/" + strconv.Itoa(i)
		}
	}
	return out
}
