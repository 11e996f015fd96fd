// Package alertingtest runs tests of alarm rules that are data, as package cases describes them, under go test.
//
//	func TestRules(t *testing.T) {
//		alertingtest.Run(t, "testdata/rules_test.yaml", func(t *testing.T, c cases.Case) []alerting.Alarm {
//			d := processortest.New(t, topology)
//			for _, in := range c.Inputs() {
//				processortest.Pipe(d, samples, record(in))
//			}
//			d.AdvanceTime(c.End().Add(time.Hour))
//			...
//		})
//	}
package alertingtest

import (
	"os"
	"testing"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/cases"
)

// Run runs every case of a file as a test of its own: play feeds it to the topology under test and returns all alarms that have come
// out, in their order.
func Run(t *testing.T, file string, play func(*testing.T, cases.Case) []alerting.Alarm) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list, err := cases.Parse(data)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, c := range list {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Verify(play(t, c)); err != nil {
				t.Errorf("%s:\n%v", file, err)
			}
		})
	}
}
