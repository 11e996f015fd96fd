package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/alertingtest"
	"github.com/rossby-streams/rossby/alerting/cases"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
)

// TestRulesAsData runs the cases on a driver, straight and with a crash after every record.
func TestRulesAsData(t *testing.T) {
	s, err := loadSchemas("")
	require.NoError(t, err)
	rules, err := s.rules("testdata/rules.yaml")
	require.NoError(t, err)
	for _, crash := range []bool{false, true} {
		alertingtest.Run(t, "testdata/cases.yaml", func(t *testing.T, c cases.Case) []alerting.Alarm {
			to := newTopics(s, false)
			topology, err := pipeline(to, rules, nil, nil)
			require.NoError(t, err)
			d := processortest.New(t, topology)
			for _, in := range c.Inputs() {
				metric, line, err := recordsOf(in)
				require.NoError(t, err)
				if line != nil {
					processortest.Pipe(d, to.syslogs, keyed(in.Key, *line))
				} else {
					processortest.Pipe(d, to.metrics, keyed(in.Key, *metric))
				}
				if crash {
					d.Crash()
				}
			}
			d.CloseAll()
			require.NoError(t, d.Err())
			require.Empty(t, d.DeadLetters())
			var said []alerting.Alarm
			for _, r := range processortest.Read(d, to.alarms) {
				said = append(said, r.Value)
			}
			return said
		})
	}
}

func keyed[V any](key string, v V) processor.Record[V] {
	return processor.Record[V]{Key: key, Value: v}
}

// TestTheFlagRunsTheCases runs the same cases through a server, and some that fail.
func TestTheFlagRunsTheCases(t *testing.T) {
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"-test-rules", "testdata/cases.yaml", "-rules", "testdata/rules.yaml"}, &out, &errs)
	require.Equal(t, 0, code, "%s%s", &out, &errs)
	require.Equal(t, 5, bytes.Count(out.Bytes(), []byte("ok   ")))

	out.Reset()
	wrong := write(t, "cases.json", `{"cases":[{"name":"wrong","input":[{"metric":"heartbeat","key":"a","values":"1"}],
		"expect":[{"at":"1m","alarms":[{"rule":"Silent","key":"a"}]}, {"at":"6m","alarms":[]}]}]}`)
	code = run(t.Context(), []string{"-test-rules", wrong, "-rules", "testdata/rules.yaml"}, &out, &errs)
	require.Equal(t, 1, code)
	require.Equal(t, "FAIL wrong\n     wrong: at 1m0s (line 2): no alarm Silent of a\n"+
		"     wrong: at 6m0s (line 2): not expected: alarm Silent of a, firing, value 300, since 5m0s\n", out.String())
	require.Contains(t, errs.String(), "1 of 1 failed")
}
