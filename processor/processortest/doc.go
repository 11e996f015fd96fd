// Package processortest runs a topology by hand: no server, no goroutines, and time in the test's hand.
//
// A Driver holds the topics in memory and runs the same engine as an App: the same choice of records, the same stores and
// timers, the same commits to a journal and the same restore from it. Every record is processed, through repartition topics
// too, before Pipe returns, and is a commit of its own. Crash throws everything away but topics and journals and
// restores; CrashWhen does so at every point in the life of a commit; a right topology gives the same results with and without.
// The clock, by which records are stored and timers of ScheduleWall fire, moves by SetClock, AdvanceClock and the pauses of a Retry.
package processortest
