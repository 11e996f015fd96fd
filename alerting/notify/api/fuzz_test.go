package api

import (
	"encoding/json"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify/silencebucket"
)

var fuzzNow = time.Unix(1_700_000_000, 0).UTC()

// requireFailure: what is refused is the sender's mistake, said in one line.
func requireFailure(t *testing.T, err error) {
	var f *failure
	require.True(t, errors.As(err, &f))
	require.GreaterOrEqual(t, f.code, 400)
	require.Less(t, f.code, 500)
	require.NotContains(t, err.Error(), "\n")
}

// FuzzAlerts: of any body, what is taken is valid, and what is refused is said.
func FuzzAlerts(f *testing.F) {
	f.Add([]byte(`[{"labels":{"alertname":"A"}},{"labels":{"a":""}},{"labels":{"a":"b"},"startsAt":"2026-01-01T00:00:00Z","endsAt":"2025-01-01T00:00:00Z"}]`))
	f.Add([]byte(`[{"labels":{"a":"b"},"annotations":{"c":"d"},"generatorURL":"http://x"},7,null]`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		alerts, refused, err := decodeAlerts(data, fuzzNow, time.Minute)
		if err != nil {
			requireFailure(t, err)
			return
		}
		for i := range alerts {
			require.NoError(t, alerts[i].Validate())
			require.Len(t, alerts[i].Fingerprint, 16)
			require.False(t, alerts[i].EndsAt.IsZero())
			_, err := json.Marshal(alerts[i])
			require.NoError(t, err)
		}
		if len(refused) > 0 {
			requireFailure(t, errorsOf(refused, len(alerts)+len(refused)))
		}
	})
}

// FuzzSilence: what is taken can be kept in the bucket and is the same when it is read from there.
func FuzzSilence(f *testing.F) {
	f.Add([]byte(`{"matchers":[{"name":"a","value":"b","isRegex":true}],"startsAt":"2023-11-14T00:00:00Z","endsAt":"2033-11-14T00:00:00Z","createdBy":"a","comment":"c"}`))
	f.Add([]byte(`{"id":"x","matchers":[],"endsAt":"2033-11-14T00:00:00+23:59"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSilence(data, fuzzNow)
		if err != nil {
			requireFailure(t, err)
			return
		}
		s.ID = "x"
		text, err := json.Marshal(s)
		require.NoError(t, err)
		read, err := silencebucket.Parse("x", text)
		require.NoError(t, err)
		require.Equal(t, s.Matchers.String(), read.Silence.Matchers.String())
		require.True(t, s.EndsAt.Equal(read.Silence.EndsAt))
	})
}

// FuzzAcknowledgement is FuzzSilence for acknowledgements.
func FuzzAcknowledgement(f *testing.F) {
	f.Add([]byte(`{"fingerprint":"f","owner":"ann","comment":"c","expiresAt":"2033-11-14T00:00:00Z"}`))
	f.Add([]byte(`{"matchers":[{"name":"a","value":"b"}],"owner":"ann","expiresAt":"2033-11-14T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAcknowledgement(data, fuzzNow)
		if err != nil {
			requireFailure(t, err)
			return
		}
		text, err := json.Marshal(a)
		require.NoError(t, err)
		read, err := silencebucket.Parse(silencebucket.AcknowledgementPrefix+"x", text)
		require.NoError(t, err)
		require.Equal(t, a.Owner, read.Acknowledgement.Owner)
	})
}

// FuzzQuery: no parameters break anything.
func FuzzQuery(f *testing.F) {
	f.Add(`filter=a%3D"b"&filter=c!~d&receiver=x.*&active=false`)
	f.Add(`active=1&silenced=t&filter={}`)
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		q, err := readQuery(values)
		if err != nil {
			requireFailure(t, err)
			return
		}
		q.matchers.Match(map[string]string{"a": "b"})
		q.wantsReceiver("a")
	})
}

// TestDurations are written as Prometheus reads them.
func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", time.Nanosecond: "0s", time.Millisecond: "1ms", 90 * time.Second: "1m30s", 4 * time.Hour: "4h", 25*time.Hour + time.Second + 5*time.Millisecond: "25h1s5ms",
	} {
		require.Equal(t, want, duration(d))
	}
}
