package stream_test

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/stream"
)

// TestService has a service whose endpoints come and go, answers later, and tells tools of itself what nats.go/micro tells.
func TestService(t *testing.T) {
	server := embeddedtest.Start(t)
	nc := embeddedtest.ConnectTo(t, server)
	c, err := stream.NewClient(nc, stream.Config{})
	require.NoError(t, err)
	s, err := c.OpenService(stream.ServiceConfig{Name: "echo", Version: "1.2.3", Description: "says it again"})
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Add(2)
	e, err := s.Add(stream.EndpointConfig{
		Name: "echo", Subject: "echo.*", Queue: "q", Metadata: map[string]string{"a": "b"},
		Handle: func(r *stream.ServiceRequest) {
			go func() { // not in the service's goroutine
				defer wg.Done()
				if r.Subject == "echo.no" {
					r.Refuse(stream.ServiceNotFound, "no echo here")
					return
				}
				r.Answer(r.Data)
			}()
		},
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush()) // the asker has a connection of its own, which may be faster
	asker, err := stream.NewClient(embeddedtest.ConnectTo(t, server), stream.Config{})
	require.NoError(t, err)
	answer, err := asker.Request(t.Context(), "echo.yes", []byte("hello"))
	require.NoError(t, err)
	require.Equal(t, "hello", string(answer))
	_, err = asker.Request(t.Context(), "echo.no", nil)
	var refused *stream.ServiceError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, stream.ServiceError{Subject: "echo.no", Code: stream.ServiceNotFound, Text: "no echo here"}, *refused)
	require.EqualError(t, err, "stream: request to echo.no: refused with code 404: no echo here")
	wg.Wait()

	ask := func(subject string, into any) {
		m, err := nc.Request(subject, nil, time.Minute)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(m.Data, into))
	}
	identity := micro.ServiceIdentity{Name: "echo", ID: s.ID(), Version: "1.2.3", Metadata: map[string]string{}}
	for _, who := range []string{"", ".echo", ".echo." + s.ID()} {
		var ping micro.Ping
		ask("$SRV.PING"+who, &ping)
		require.Equal(t, micro.Ping{ServiceIdentity: identity, Type: micro.PingResponseType}, ping)
		var info micro.Info
		ask("$SRV.INFO"+who, &info)
		require.Equal(t, micro.Info{
			ServiceIdentity: identity, Type: micro.InfoResponseType, Description: "says it again",
			Endpoints: []micro.EndpointInfo{{Name: "echo", Subject: "echo.*", QueueGroup: "q", Metadata: map[string]string{"a": "b"}}},
		}, info)
		var stats micro.Stats
		ask("$SRV.STATS"+who, &stats)
		require.Len(t, stats.Endpoints, 1)
		require.Equal(t, 2, stats.Endpoints[0].NumRequests)
		require.Equal(t, 1, stats.Endpoints[0].NumErrors)
		require.Contains(t, stats.Endpoints[0].LastError, "no echo here")
	}

	e.Close()
	for err := error(nil); !errors.Is(err, stream.ErrNoService); { // the server may not have heard of it yet
		if _, err = asker.Request(t.Context(), "echo.yes", nil); !errors.Is(err, stream.ErrNoService) {
			require.ErrorAs(t, err, &refused)
			require.Equal(t, stream.ServiceUnavailable, refused.Code)
		}
	}
	var info micro.Info
	ask("$SRV.INFO", &info)
	require.Empty(t, info.Endpoints)
	s.Close()
	_, err = nc.Request("$SRV.PING", nil, time.Minute)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	_, err = s.Add(stream.EndpointConfig{Name: "late", Subject: "late", Queue: "q"})
	require.ErrorContains(t, err, "is closed")
	_, err = c.OpenService(stream.ServiceConfig{Name: "no name", Version: "1.0.0"})
	var bad *stream.NameError
	require.ErrorAs(t, err, &bad)
}

// TestJoined lists who has joined a group, and disbands it. Other groups are not touched.
func TestJoined(t *testing.T) {
	c, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	none, err := c.Joined(t.Context(), "some.group")
	require.NoError(t, err)
	require.Empty(t, none)
	join := func(group, member string) *stream.Membership {
		m, err := c.Join(t.Context(), stream.MembershipConfig{
			Name: group, Member: member, Items: []string{"i"}, Assigned: func([]stream.Claim) {}, Revoke: func([]string) {}, Lost: func([]string) {},
			Failed: func(error) {},
		})
		require.NoError(t, err)
		return m
	}
	a, b, other := join("some.group", ""), join("some.group", "b"), join("some.group2", "other")
	defer other.Leave(t.Context())
	members, err := c.Joined(t.Context(), "some.group")
	require.NoError(t, err)
	require.Len(t, members, 2)
	for _, m := range members {
		require.Equal(t, m.Name == "b", m.Static)
		require.False(t, m.Seen.IsZero())
	}
	a.Leave(t.Context())
	members, err = c.Joined(t.Context(), "some.group")
	require.NoError(t, err)
	require.Len(t, members, 1, "who has left is none")
	b.Leave(t.Context())
	require.NoError(t, c.Disband(t.Context(), "some.group"))
	members, err = c.Joined(t.Context(), "some.group")
	require.NoError(t, err)
	require.Empty(t, members)
	members, err = c.Joined(t.Context(), "some.group2")
	require.NoError(t, err)
	require.Len(t, members, 1)
	var bad *stream.NameError
	require.ErrorAs(t, c.Disband(t.Context(), "some.*"), &bad)

	journals, err := c.Journals(t.Context())
	require.NoError(t, err)
	require.Empty(t, journals)
	for _, name := range []string{"z", "a"} {
		_, err = c.OpenJournal(t.Context(), name)
		require.NoError(t, err)
	}
	journals, err = c.Journals(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a", "z"}, journals)
}
