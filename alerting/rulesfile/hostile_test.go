package rulesfile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/rulesfile"
)

// TestHostileRulesCannotReachOut: nothing that a rule may write reads files, the environment or the time, or calls what a value can do.
func TestHostileRulesCannotReachOut(t *testing.T) {
	for _, text := range []string{
		`readFile('/etc/passwd') != ''`, `os.ReadFile('/etc/passwd') != nil`, `open('/etc/passwd') != nil`, `import('os') != nil`,
		`env('HOME') != ''`, `getenv('HOME') != ''`, `$env['HOME'] != ''`, `exec('true') == 0`, `http('http://localhost') != ''`,
		`now().Unix() > 0`, `date('2026-01-01').Unix() > 0`, `metric.time.Unix() > 0`, `metric.String() != ''`, `get(metric, 'value') > 1`,
		`fromJSON('{}') != nil`, `fromBase64('aa') != ''`, `panic('x')`, `sleep(1000)`, `len(map(1..100000000, #)) > 0`,
		`repeat('x', 1000000000) != ''`, `len(split(repeat('x', 100000), '')) > 1`,
	} {
		_, err := rulesfile.Parse([]byte(`{"rules":[{"name":"A","if":`+quote(text)+`}]}`), model(t))
		require.ErrorIs(t, err, rulesfile.ErrRules, text)
	}
	for _, text := range []string{"{{readFile `/etc/passwd`}}", "{{env `HOME`}}", "{{template `x`}}", "{{call .Rule}}"} {
		_, err := rulesfile.Parse([]byte(`{"rules":[{"name":"A","metric":"cpu","above":1,"annotations":{"a":`+quote(text)+`}}]}`), model(t))
		require.ErrorIs(t, err, rulesfile.ErrRules, text)
	}
}
