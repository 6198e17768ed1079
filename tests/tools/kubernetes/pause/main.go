// Command pause keeps the namespaces of a pod: it sleeps until it is told to end. No registry is asked for the usual image of this name.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for sent := range told {
		if sent != syscall.SIGCHLD {
			return
		}
		// It is process 1 of a pod that shares its process ids, and so gets the orphans.
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
}
