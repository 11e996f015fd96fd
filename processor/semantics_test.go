package processor_test

import (
	"testing"

	"github.com/rossby-streams/rossby/processor/processortest/scenario"
)

// TestSemantics runs the scenario files of aggregates, windows and tables: see package scenario.
func TestSemantics(t *testing.T) {
	scenario.Run(t, scenario.Suite{
		Folder:    "testdata/semantics",
		Operators: scenario.Operators(),
		Owns:      func(op scenario.Operator) bool { return !op.Joins() },
	})
}
