package rulesfile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
)

// The same rule three times: as plain Go, as a rule in Go, and as one of a file.
const benchmarked = `metric.value > 90 && metric.host == "web1" && len(logs) > 3`

func BenchmarkCondition(b *testing.B) {
	v := at(85)
	v.Sample.Value = 95
	v.Lines = make([]line, 5)
	f := parse(b, `{"rules":[{"name":"A","metric":"cpu","if":`+quote(benchmarked)+`}]}`)
	logs := parse(b, `{"rules":[{"name":"A","metric":"cpu","if":"count(logs, .severity == 'err') > 3"}]}`)
	inGo := alerting.Level[incident]{If: func(i incident) (bool, error) {
		return i.Sample.Value > 90 && i.Sample.Host == "web1" && len(i.Lines) > 3, nil
	}}
	for name, holds := range map[string]func(incident) (bool, error){
		"go": inGo.If, "file": f.Rules[0].Levels[0].If, "file/five-lines": logs.Rules[0].Levels[0].If,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := holds(v)
				if err != nil {
					require.NoError(b, err)
				}
			}
		})
	}
}
