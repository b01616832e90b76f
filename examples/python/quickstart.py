# A sandbox, a command in it, its output. Run: python3 examples/python/quickstart.py
from kiln import Client

client = Client()
with client.sandbox(image="python", memory_mib=512) as sandbox:
    result = sandbox.exec(["python3", "-c", "print(6 * 7)"])
    print(result.stdout.strip(), "exit code", result.exit_code)
