package disk

import "errors"

var (
	// ErrInUse says that another process, or another app of this one, has the folder.
	ErrInUse = errors.New("the folder is in use")
	// ErrDamaged says that files in the folder are not as they were written.
	ErrDamaged = errors.New("the files are damaged: stop the app, delete the folder and start again; the state comes back from the journals")
	// ErrFull says that there is no room left for the files.
	ErrFull = errors.New("the disk is full: make room and start again; nothing is lost")
	// ErrClosed says that the database has been closed.
	ErrClosed = errors.New("the state database is closed")
)
