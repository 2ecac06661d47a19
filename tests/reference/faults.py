"""The programs of this folder with one fault planted, so that it can be shown
that a check of `messenger compare` would see it.

faults.py server FAULT    a name in faults_server.py
faults.py bridge FAULT    a name in faults_bridge.py

The fault "none" is the plain program. Its HTTP server does not look up the name
of the machine: where nobody answers, that takes ten seconds more. Nothing else
is changed, its waits neither.
"""

import os
import socket
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import chat_client
import chat_server
import faults_bridge
import faults_server


def main():
    _, kind, fault = sys.argv
    socket.getfqdn = lambda name='': name
    program, faults = {
        'server': (chat_server, faults_server.FAULTS),
        'bridge': (chat_client, faults_bridge.FAULTS),
    }[kind]
    if fault != 'none':
        faults[fault]()
    program.main()


if __name__ == '__main__':
    main()
