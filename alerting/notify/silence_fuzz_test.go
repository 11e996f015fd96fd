package notify_test

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
)

// FuzzSilence: whatever is edited in a bucket is refused, or is a silence that comes back as it went and mutes without a panic.
func FuzzSilence(f *testing.F) {
	f.Add([]byte(`{"id":"a","matchers":[{"name":"alertname","value":"DiskFull"}],"startsAt":"2023-11-14T00:00:00Z","endsAt":"2023-11-15T14:00:00Z"}`))
	f.Add([]byte(`{"matchers":[{"name":"a","value":"(b|c)+","isRegex":true,"isEqual":false}],"startsAt":"2023-11-14T00:00:00Z","endsAt":"2024-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s notify.Silence
		if json.Unmarshal(data, &s, json.RejectUnknownMembers(true)) != nil || s.Validate() != nil {
			return
		}
		written, err := json.Marshal(s)
		require.NoError(t, err)
		var again notify.Silence
		require.NoError(t, json.Unmarshal(written, &again))
		require.NoError(t, again.Validate())
		require.Equal(t, s.Matchers.String(), again.Matchers.String())
		require.True(t, s.StartsAt.Equal(again.StartsAt) && s.EndsAt.Equal(again.EndsAt))
		d, err := notify.New(notify.Config{Receivers: []notify.Receiver{{Name: "r"}}, Route: notify.Route{Receiver: "r"}})
		require.NoError(t, err)
		d.Silence(s)
		d.Take(alert(0, 0, "alertname", "DiskFull"), at(0))
		for _, id := range d.Due(at(1e6)) {
			d.Flush(id, at(1e6))
		}
	})
}
