package stream_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/stream"
)

// omitempty leaves out what encoding/json would leave out, so that a value comes back as it went.
func TestJSONKeepsPointersToEmptyValues(t *testing.T) {
	type value struct {
		Name  *string       `json:"name,omitempty"`
		Count int           `json:"count,omitempty"`
		Took  time.Duration `json:"took"`
	}
	empty := ""
	for want, v := range map[string]value{
		`{"name":"","took":5}`: {Name: &empty, Took: 5},
		`{"took":0}`:           {},
		`{"count":1,"took":0}`: {Count: 1},
	} {
		data, err := stream.JSON[value]().Encode(v)
		require.NoError(t, err)
		require.JSONEq(t, want, string(data))
		back, err := stream.JSON[value]().Decode(data)
		require.NoError(t, err)
		require.Equal(t, v, back)
	}
}
